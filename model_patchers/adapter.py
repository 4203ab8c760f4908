"""What an architecture has to say for itself. A new one is one file and one line in ``ADAPTERS`` of the package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, ClassVar

from torch import Tensor, nn

from .blocks import Block, BlockArgs, SideWork, TokenSpan


class Adapter(ABC):
    """Names a model's blocks and finds its image tokens; it never decides anything and holds no state."""

    name: ClassVar[str]  # also the name of its published settings
    models: ClassVar[tuple[str, ...]]  # full names of the host's classes it covers
    entangled: ClassVar[tuple[str, ...]] = ()  # those of ``models`` whose loop needs the whole batch beside the blocks

    @abstractmethod
    def blocks(self, model: nn.Module) -> list[Block]:
        """The stack in the order in which it runs."""

    @abstractmethod
    def span(self, model: nn.Module, call: Mapping[str, Any]) -> TokenSpan:
        """Where the picture's own tokens are; ``call`` holds the forward's arguments by name."""

    @abstractmethod
    def modulated(self, model: nn.Module, args: BlockArgs) -> Tensor:
        """Modulated input ``(N, T, D)`` of the first block, from that block's arguments: what TeaCache looks at."""

    def size(self, model: nn.Module, latent: Sequence[int]) -> tuple[int, int]:
        """Image tokens and width of one sample of a latent ``(N, C, [T,] H, W)``, before any call; references aside."""
        sizes = latent[2:]
        patches = (model.patch_size,) * len(sizes) if isinstance(model.patch_size, int) else model.patch_size
        return prod(map(patches_of, sizes, patches)), self.width(model)

    def width(self, model: nn.Module) -> int:
        """Channels of a hidden state."""
        return model.hidden_size

    def side_work(self, model: nn.Module, last: int) -> list[SideWork]:
        """Work that the host does beside the stack, which a skipped pass must not pay for.

        What the host adds behind block ``last`` acts on the estimate as on a computed output, so that has to stay.
        """
        return []


def patches_of(size: int, patch: int) -> int:
    """Patches along an edge of ``size`` latent pixels, the last one padded."""
    return -(-size // patch)


def class_name(model: nn.Module) -> str:
    """Full name of a model's class, ``package.module.Class``."""
    return f"{type(model).__module__}.{type(model).__qualname__}"
