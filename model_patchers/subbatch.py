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

from .adapter import Adapter, class_name
from .blocks import BlockArgs

BATCHED = ("img", "txt", "vec", "pe", "attn_mask", "attention_mask")  # arguments of a block with one row per sample
RESULTS = ("img", "txt")


def can_split(adapter: Adapter, model: nn.Module, call: Mapping[str, Any]) -> bool:
    """Whether nothing but the blocks sees the batch while they run; ``call`` holds the forward's arguments by name."""
    options = call["transformer_options"]
    watched = any(options.get("patches", {}).values()) or any(options.get("patches_replace", {}).values())
    control = call.get("control") or call.get("kwargs", {}).get("control")
    return not (
        watched
        or control is not None
        or "optimized_attention_override" in options
        or class_name(model) in adapter.entangled
    )


class SubBatch:
    """The rows of one forward pass that are computed behind the probe."""

    def __init__(self, reuse: Sequence[bool]) -> None:
        self.batch = len(reuse)
        self.rows = [row for row, reused in enumerate(reuse) if not reused]
        self.started = False
        self._narrowed: dict[int, tuple[Any, Any]] = {}  # by identity: blocks get the same arguments again and again

    def fits(self, args: BlockArgs) -> bool:
        """Whether every argument is known to have one row per sample, or one for all."""
        return all(self._understood(args.get(name)) for name in BATCHED)

    def narrow(self, args: BlockArgs) -> dict[str, Any]:
        """A block's arguments with the wanted rows only; ``img`` and ``txt`` may have come narrow already."""
        self.started = True
        return {name: self._argument(name, value) for name, value in args.items()}

    def widen(self, out: Mapping[str, Any]) -> dict[str, Any]:
        """A block's result with all rows again; those that were not computed are zero."""
        return {name: self._widened(value) if name in RESULTS else value for name, value in out.items()}

    def _argument(self, name: str, value: Any) -> Any:
        if name not in BATCHED:
            return value
        if name == "img":
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
