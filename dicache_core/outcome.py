"""One sampling of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .statistics import RunStatistics


@dataclass(frozen=True)
class Outcome:
    """What came out, and what it took.

    Slots:
        label: the setting in the user's words; the first outcome of a comparison has no cache.
        samples: ``(B, C, [T,] H, W)`` latent.
        seconds: time of the sampler alone, without loading the model.
        runs: what the cache did, one for each model that took part; empty without one.
    """

    label: str
    samples: Tensor
    seconds: float
    runs: tuple[RunStatistics, ...] = ()
