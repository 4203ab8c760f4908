"""How much each block's own work changes from step to step, recorded in a run in which all is computed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from torch import Tensor

from ..reductions import Reducer, abs_sum, l1_distance, ratio, to_host
from ..run_statistics import SampleKey
from ..schedule import ModelCall


class BlockRecorder:
    """``mean|R_i(t) - R_i(t-1)| / mean|h_i(t)|`` of every block ``i`` and step ``t``, on some tokens.

    ``R_i`` is what the block adds to ``h_i``.  Sums stay on the device until the run's end.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[SampleKey, int], tuple[int, Tensor]] = {}  # step and R, (K, D) float32
        self._sums: dict[tuple[int, int], list[Tensor]] = {}  # by step and block: of each sample two, 0-d float32

    def see(self, keys: Sequence[SampleKey], step: ModelCall, block: int, before: Tensor, after: Tensor) -> None:
        """The tokens ``(N, K, D)`` of a block's input and output."""
        for key, h, out in zip(keys, before, after, strict=True):
            residual = out.float() - h.float()
            known, earlier = self._last.get((key, block), (None, residual))
            if known == step.step_index - 1:
                self._sums.setdefault((step.step_index, block), []).extend((l1_distance(residual, earlier), abs_sum(h)))
            self._last[key, block] = step.step_index, residual

    def table(self, steps: int, reduce: Reducer | None) -> tuple[tuple[float, ...], ...]:
        """Per step a row of all blocks, the mean of all samples; 0 where nothing is known.  One sync."""
        blocks = 1 + max((block for _, block in self._sums), default=-1)
        values = iter(to_host([tensor for sums in self._sums.values() for tensor in sums], reduce))
        known = {place: [next(values) for _ in sums] for place, sums in self._sums.items()}
        means = {place: fmean(map(ratio, sums[::2], sums[1::2])) for place, sums in known.items()}
        return tuple(tuple(means.get((step, block), 0.0) for block in range(blocks)) for step in range(steps))
