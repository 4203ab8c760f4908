"""What an architecture has to say for itself. A new one is one file and one line in ``ADAPTERS`` of the package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from .blocks import Block, BlockArgs, TokenSpan


class Adapter(ABC):
    """Names a model's blocks and finds its image tokens; it never decides anything and holds no state."""

    name: ClassVar[str]  # also the name of its published settings
    models: ClassVar[tuple[str, ...]]  # full names of the host's classes it covers

    @abstractmethod
    def blocks(self, model: nn.Module) -> list[Block]:
        """The stack in the order in which it runs."""

    @abstractmethod
    def span(self, model: nn.Module, call: Mapping[str, Any]) -> TokenSpan:
        """Where the picture's own tokens are; ``call`` holds the forward's arguments by name."""

    @abstractmethod
    def modulated(self, model: nn.Module, args: BlockArgs) -> Tensor:
        """Modulated input ``(N, T, D)`` of the first block, from that block's arguments: what TeaCache looks at."""

    def side_blocks(self, model: nn.Module) -> dict[str, Mapping[int, Any]]:
        """Attributes of ``model`` that map a block's index to work done beside the stack after that block.

        While a pass is skipped they are emptied, so that it does not pay for them.
        """
        return {}


def class_name(model: nn.Module) -> str:
    """Full name of a model's class, ``package.module.Class``."""
    return f"{type(model).__module__}.{type(model).__qualname__}"
