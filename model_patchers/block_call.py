"""One call of one block: the block's own forward, or another pack's replacement of it.

Both have a hidden state going in, run, and give a result with a hidden state in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from .family import Arguments, Block, Hidden, Part

BESIDE = "txt"


class BlockCall(ABC):
    """``hidden`` is the hidden state that goes in; with ``streams``, a tuple of all that a block hands on, it first."""

    hidden: Hidden
    part: Part

    @property
    @abstractmethod
    def arguments(self) -> Arguments:
        """By name, as the block or the host's replacement calls them."""

    @abstractmethod
    def run(self, arguments: Arguments | None = None) -> Any:
        """The result; with other ``arguments`` where they are given."""

    @abstractmethod
    def hidden_of(self, result: Any) -> Hidden:
        """The hidden state in a result."""

    @abstractmethod
    def with_hidden(self, result: Any, hidden: Hidden) -> Any:
        """The result with another hidden state."""

    @abstractmethod
    def handed_through(self, hidden: Hidden) -> Any:
        """The result of a block that leaves all as it is, but for the hidden state."""


class ForwardCall(BlockCall):
    """A call of a block's forward."""

    def __init__(
        self,
        block: Block,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        streams: bool = False,
    ):
        self.block, self.part = block, block.part
        self._forward, self._args, self._kwargs = forward, args, kwargs
        self._others = [name for name in self.part.returns if name != self.part.hidden] if streams else []
        self.hidden = self._hidden(lambda name: block.argument(name, args, kwargs))

    @property
    def arguments(self) -> Arguments:
        return self.block.by_name(self._args, self._kwargs)

    def run(self, arguments: Arguments | None = None) -> Any:
        return self._forward(*self._args, **self._kwargs) if arguments is None else self._forward(**arguments)

    def hidden_of(self, result: Any) -> Hidden:
        return self._hidden(lambda name: result[self.part.returns.index(name)]) if self.part.returns else result

    def with_hidden(self, result: Any, hidden: Hidden) -> Any:
        if not self.part.returns:
            return hidden
        changed = list(result)
        named = (self.part.hidden, *self._others)
        for name, stream in zip(named, hidden if self._others else (hidden,), strict=True):
            changed[self.part.returns.index(name)] = stream
        return tuple(changed)

    def handed_through(self, hidden: Hidden) -> Any:
        given = [self.block.argument(name, self._args, self._kwargs) for name in self.part.returns]
        return self.with_hidden(given, hidden)

    def _hidden(self, named: Callable[[str | int], Any]) -> Hidden:
        own = named(self.part.hidden)
        return (own, *map(named, self._others)) if self._others else own


class ReplacementCall(BlockCall):
    """A call of a replacement as the host makes it, ``replacement(args, {"original_block": run})``.

    Where ``Part.patched`` names the hidden state the result is a dictionary, else the hidden state itself under "x".
    The host's word for what blocks hand on beside it is "txt".
    """

    def __init__(
        self,
        block: Block,
        replacement: Callable[..., Any],
        args: Arguments,
        extra: Mapping[str, Any],
        streams: bool = False,
    ):
        self.part = block.part
        self._replacement, self._args, self._extra = replacement, args, extra
        self._beside = streams and len(self.part.returns) > 1
        self.hidden = self.hidden_of(args) if self.part.patched else args["x"]

    @property
    def arguments(self) -> Arguments:
        return {**self._args, self.part.hidden: self._args[self.part.patched or "x"]}

    def run(self, arguments: Arguments | None = None) -> Any:
        return self._replacement(self._args if arguments is None else arguments, self._extra)

    def hidden_of(self, result: Any) -> Hidden:
        if not self.part.patched:
            return result
        return (result[self.part.patched], result[BESIDE]) if self._beside else result[self.part.patched]

    def with_hidden(self, result: Any, hidden: Hidden) -> Any:
        if not self.part.patched:
            return hidden
        names = (self.part.patched, BESIDE) if self._beside else (self.part.patched,)
        return {**result, **dict(zip(names, hidden if self._beside else (hidden,), strict=True))}

    def handed_through(self, hidden: Hidden) -> Any:
        return self.with_hidden(self._args, hidden)
