"""First-block caching (FBCache, from the ParaAttention project): compare the probe with the last *computed* step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator
from ..measure import moved, movement
from ..observation import Observation


class FirstBlock(Indicator):
    """``d = mean|q - q_b| / mean|q_b|``, judged alone: nothing adds up, as ``b`` is the last computed step."""

    accumulates = False
    probes = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.computed: Tensor | None = None  # q_b, (K, D)

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return [] if self.computed is None else movement(seen.probe_residual, self.computed)

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return moved(sums)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.computed is None else [self.computed]

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.computed = seen.probe_residual
