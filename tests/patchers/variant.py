"""A class of the four families with published settings, and the arguments of one forward pass."""

from dataclasses import dataclass, field
from typing import Any

import torch
from host_network import BATCH
from torch import Tensor, nn


@dataclass
class Variant:
    """A model, its input and the conditioning of one call, with what a person reads off the shapes.

    Attributes:
        x: ``(N, C, ...)`` input.
        tokens: image tokens of the picture itself.
        in_front: reference tokens before them.
        beside: modules of which each is work beside the stack.
        needed: those of ``beside`` that act behind the last block, so that a skipped pass has to run them.
        norm_input: module whose first argument is the modulated input of block 0.
    """

    model: nn.Module
    x: Tensor
    tokens: int
    norm_input: nn.Module
    arguments: dict[str, Any] = field(default_factory=dict)
    in_front: int = 0
    beside: list[nn.Module] = field(default_factory=list)
    needed: list[nn.Module] = field(default_factory=list)
    timestep: Tensor = field(default_factory=lambda: torch.full((BATCH,), 0.5))

    def __call__(self, x: Tensor, options: dict[str, Any], **more: Any) -> Tensor:
        return self.model(x, self.timestep, transformer_options=options, **self.arguments, **more)
