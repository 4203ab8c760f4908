"""The little that has to be known of a model: which blocks form the stack, and where the image tokens are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

BlockKey = tuple[str, int]  # as in transformer_options["patches_replace"]["dit"]
BlockArgs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of the stack.

    Slots:
        key: its key in ``patches_replace["dit"]``.
        joined: whether its ``img`` is one sequence of text tokens followed by image tokens.
    """

    key: BlockKey
    joined: bool = False


@dataclass(frozen=True, slots=True)
class SideWork:
    """Work beside the stack that the host looks up in ``owner.attribute`` after each block.

    While a pass is skipped ``idle`` stands there, which does only what is still needed.
    """

    owner: nn.Module
    attribute: str
    idle: Any


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """The tokens of the picture that is being made, among all image tokens.

    Reference tokens ride in the same sequence before or after them.  They take part in the blocks, but the host drops
    them behind the stack, so neither the metric nor the residual needs them.
    """

    start: int = 0
    stop: int | None = None

    def of(self, block: Block, img: Tensor, args: BlockArgs) -> Tensor:
        """The span's view ``(N, T, D)`` into a block's ``img``."""
        if block.joined:
            img = img[:, args["transformer_options"]["img_slice"][0] :]
        return img[:, self.start : self.stop]
