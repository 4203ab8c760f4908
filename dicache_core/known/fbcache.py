"""First-block caching (FBCache, from the ParaAttention project): compare the probe with the last *computed* step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator
from ..measure import abs_sum, distance, ratio
from ..observation import Observation


class FirstBlock(Indicator):
    """``d = mean|q - q_b| / mean|q_b|``, judged alone: nothing adds up, as ``b`` is the last computed step."""

    accumulates = False
    probes = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.computed: Tensor | None = None  # q_b, (K, D)

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        if self.computed is None:
            return []
        return [distance(seen.probe_residual, self.computed), abs_sum(self.computed)]

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return ratio(*sums) if sums else math.inf

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.computed is None else [self.computed]

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.computed = seen.probe_residual
