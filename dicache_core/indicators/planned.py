"""Rules that look at nothing: a fixed interval, and a schedule written down beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig, parse_mask
from ..observation import Observation
from .base import Indicator, Stage


class FixedInterval(Indicator):
    """Every step is as bad as the next, ``e = 1``; the limit being the interval, every ``interval``-th is computed."""

    stage = Stage.INPUT
    limited_by = "interval"

    @classmethod
    def limit(cls, config: CacheConfig) -> float:
        return float(config.interval)

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return []

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return 1.0


class StepMask(Indicator):
    """Computes the steps that ``CacheConfig.mask`` says, ``"1,1,0,1"``, and all behind its end."""

    stage = Stage.INPUT
    limited_by = "mask"
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.computed = parse_mask(config.mask)

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return []

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        place = seen.step.place
        return math.inf if place >= len(self.computed) or self.computed[place] else 0.0
