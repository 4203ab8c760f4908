"""Online probe profiling (DiCache, arXiv 2508.17356, section 3.2): how far the probe moved since the previous step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator
from ..measure import moved, movement
from ..observation import Observation


class DeltaY(Indicator):
    """``d = mean|hm - hm_prev| / mean|hm_prev|``, ``hm_prev`` being the probe of the previous step, reused or not."""

    probes = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.previous: Tensor | None = None  # (K, D)

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return movement(seen.hm, self.previous)

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return moved(sums)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.previous is None else [self.previous]

    def follow(self, seen: Observation) -> None:
        self.previous = seen.hm


class DeltaMinus(Indicator):
    """``d = |d(hm) - d(h0)|``: the movement that the probe's blocks add to the movement of their input."""

    probes = 2

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.previous: tuple[Tensor, Tensor] | None = None  # hm and h0, (K, D) each

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        if self.previous is None:
            return []
        hm, h0 = self.previous
        return [*movement(seen.hm, hm), *movement(seen.h0, h0)]

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        probe, entry = moved(sums[:2]), moved(sums[2:])
        return abs(probe - entry) if math.isfinite(probe) and math.isfinite(entry) else math.inf

    @property
    def held(self) -> Sequence[Tensor]:
        return self.previous or []

    def follow(self, seen: Observation) -> None:
        self.previous = None if seen.hm is None else (seen.hm, seen.h0)  # with threshold 0 no probe is looked at
