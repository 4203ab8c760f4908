"""SmoothCache (Liu et al., arXiv 2411.11610): a calibrating run's errors decide.

The paper decides per kind of layer, all attentions alike, all feed-forwards alike; here it is the whole stack.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator, Stage
from ..observation import Observation
from .calibrated import Errors


class SmoothCache(Indicator):
    """``e = mean|R_t - R_(t-k)| / mean|R_t|`` of the recorded run, ``k`` steps after the last computed one."""

    stage = Stage.INPUT
    calibrated = True
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.errors = Errors(config.residual_errors, "SmoothCache")
        self.passed = 0

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return []

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return self.errors.at(seen.step, self.passed + 1)

    def follow(self, seen: Observation) -> None:
        self.passed += 1

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.passed = 0
