"""One call of one block: the block's own forward, or another pack's replacement of it.

Both have a hidden state going in, run, and give a result with a hidden state in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from .family import Arguments, Block, Hidden, Part


class BlockCall(ABC):
    """``hidden`` is the hidden state that goes in."""

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

    def __init__(self, block: Block, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.block, self.part = block, block.part
        self._forward, self._args, self._kwargs = forward, args, kwargs
        self.hidden = block.argument(self.part.hidden, args, kwargs)

    @property
    def arguments(self) -> Arguments:
        return self.block.by_name(self._args, self._kwargs)

    def run(self, arguments: Arguments | None = None) -> Any:
        return self._forward(*self._args, **self._kwargs) if arguments is None else self._forward(**arguments)

    def hidden_of(self, result: Any) -> Hidden:
        return result[self.part.returns.index(self.part.hidden)] if self.part.returns else result

    def with_hidden(self, result: Any, hidden: Hidden) -> Any:
        if not self.part.returns:
            return hidden
        place = self.part.returns.index(self.part.hidden)
        return (*result[:place], hidden, *result[place + 1 :])

    def handed_through(self, hidden: Hidden) -> Any:
        if not self.part.returns:
            return hidden
        return tuple(
            hidden if name == self.part.hidden else self.block.argument(name, self._args, self._kwargs)
            for name in self.part.returns
        )


class ReplacementCall(BlockCall):
    """A call of a replacement as the host makes it, ``replacement(args, {"original_block": run})``.

    Where ``Part.patched`` names the hidden state the result is a dictionary, else the hidden state itself under "x".
    """

    def __init__(self, block: Block, replacement: Callable[..., Any], args: Arguments, extra: Mapping[str, Any]):
        self.part = block.part
        self._replacement, self._args, self._extra = replacement, args, extra
        self.hidden = args[self.part.patched or "x"]

    @property
    def arguments(self) -> Arguments:
        return {**self._args, self.part.hidden: self.hidden}

    def run(self, arguments: Arguments | None = None) -> Any:
        return self._replacement(self._args if arguments is None else arguments, self._extra)

    def hidden_of(self, result: Any) -> Hidden:
        return result[self.part.patched] if self.part.patched else result

    def with_hidden(self, result: Any, hidden: Hidden) -> Any:
        return {**result, self.part.patched: hidden} if self.part.patched else hidden

    def handed_through(self, hidden: Hidden) -> Any:
        return self.with_hidden(self._args, hidden)
