"""A model of a family with a stack of blocks, and the arguments of one forward pass, a row per sample."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from host_network import BATCH
from torch import Tensor, nn


@dataclass
class Toy:
    """A model and the arguments of one call.

    Attributes:
        x: ``(N, C, ...)`` input, or a list of them.
        timestep: per sample.
        arguments: the rest of the call; tensors with a row per sample are cut with it.
        options: more of ``transformer_options`` for a batch of these rows.
        same_rows: whether the host takes it for granted that all samples have the same input.
        beside: modules of which a reused pass needs none.
        clear: makes the model forget what it keeps between calls.
    """

    model: nn.Module
    x: Any
    arguments: dict[str, Any] = field(default_factory=dict)
    timestep: Any = field(default_factory=lambda: torch.full((BATCH,), 0.5))
    options: Callable[[list[int]], dict] = lambda rows: {}
    same_rows: bool = False
    beside: list[nn.Module] = field(default_factory=list)
    clear: Callable[[], None] = lambda: None

    @property
    def batch(self) -> int:
        return len(self.x if isinstance(self.x, Tensor) else self.x[0])

    def __call__(self, x: Any, options: dict, rows: list[int] | None = None, **more: Any) -> Any:
        rows = list(range(self.batch)) if rows is None else rows
        arguments = {name: take(value, rows) for name, value in self.arguments.items()}
        options = options | self.options(rows)
        return self.model(copied(x), take(self.timestep, rows), transformer_options=options, **arguments, **more)


def take(value: Any, rows: list[int]) -> Any:
    """The wanted rows of everything that has one per sample."""
    if isinstance(value, list):
        return [take(part, rows) for part in value]
    per_sample = isinstance(value, Tensor) and value.ndim > 0 and len(value) == BATCH
    return value[rows].clone() if per_sample else value


def copied(x: Any) -> Any:
    return [part.clone() for part in x] if isinstance(x, list) else x.clone()
