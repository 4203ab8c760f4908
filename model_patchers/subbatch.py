"""The rest of a pass for some samples of a batch: blocks get the rows that have to be computed and no others.

The first narrowed block's result carries fewer rows into the host's loop, the last one's is widened again.  Everything
that the host hands to each block anew (modulation, positions, masks) is narrowed where it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .family import Arguments, Family, class_name


def can_split(family: Family, network: nn.Module, call: Arguments, options: Mapping[str, Any]) -> bool:
    """Whether nothing but the blocks sees the batch while they run; ``call`` holds the forward's arguments by name."""
    watched = any(options.get("patches", {}).values()) or any(options.get("patches_replace", {}).values())
    return bool(family.batched) and not (
        watched
        or call.get("control") is not None
        or "optimized_attention_override" in options
        or class_name(network) in family.entangled
    )


class SubBatch:
    """The rows of one forward pass that are computed after the probe.

    ``batched`` names the arguments of a block with one row per sample, or one for all.
    """

    def __init__(self, reuse: Sequence[bool], batched: Sequence[str]) -> None:
        self.batch = len(reuse)
        self.batched = batched
        self.rows = [row for row, reused in enumerate(reuse) if not reused]
        self.started = False
        self._narrowed: dict[int, tuple[Any, Any]] = {}  # by identity: blocks get the same arguments again and again

    def fits(self, args: Arguments) -> bool:
        """Whether every argument is known to have one row per sample, or one for all."""
        return all(self._understood(args.get(name)) for name in self.batched)

    def narrow(self, args: Arguments, hidden: str) -> dict[str, Any]:
        """A block's arguments with the wanted rows only; hidden states may have come narrow already."""
        self.started = True
        return {
            name: self._argument(value, name == hidden) if name in self.batched else value
            for name, value in args.items()
        }

    def widen(self, result: Any) -> Any:
        """A block's result with all rows again; those that were not computed are zero."""
        return tuple(map(self._widened, result)) if isinstance(result, tuple) else self._widened(result)

    def _argument(self, value: Any, is_hidden: bool) -> Any:
        if is_hidden:
            return self._rows_of(value)  # another one for every block: remembering it would only keep it alive
        if id(value) not in self._narrowed:
            self._narrowed[id(value)] = (value, self._rows_of(value))
        return self._narrowed[id(value)][1]

    def _rows_of(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._select(value) if value.shape[0] == self.batch else value
        if isinstance(value, (tuple, list)):
            return type(value)(self._rows_of(v) for v in value)
        if is_dataclass(value):
            return replace(value, **{f.name: self._rows_of(getattr(value, f.name)) for f in fields(value)})
        return value

    def _select(self, value: Tensor) -> Tensor:
        first, last = self.rows[0], self.rows[-1]
        if last - first + 1 == len(self.rows):
            return value[first : last + 1]  # neighbours need no copy
        return value.index_select(0, torch.tensor(self.rows, device=value.device))

    def _widened(self, value: Tensor) -> Tensor:
        if value.shape[0] == self.batch:
            return value
        whole = value.new_zeros(self.batch, *value.shape[1:])
        for place, row in enumerate(self.rows):
            whole[row] = value[place]
        return whole

    def _understood(self, value: Any) -> bool:
        if isinstance(value, Tensor):
            return value.ndim > 0 and value.shape[0] in (1, self.batch)
        if isinstance(value, (tuple, list)):
            return all(map(self._understood, value))
        if is_dataclass(value):
            return all(self._understood(getattr(value, f.name)) for f in fields(value))
        return value is None
