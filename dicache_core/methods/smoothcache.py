"""SmoothCache (Liu et al., arXiv 2411.11610): a calibrating run's errors decide.

The paper decides per kind of layer, all attentions alike, all feed-forwards alike; here it is the whole stack.
"""

from __future__ import annotations

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from .base import PlannedIndicator
from .calibrated import Errors
from .indicators import indicator
from .reuse import Reuse


@indicator("smoothcache")
class SmoothCache(PlannedIndicator):
    """``e = mean|R_t - R_(t-k)| / mean|R_t|`` of the recorded run, ``k`` steps after the last computed one."""

    calibrated = True
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.errors = Errors(config.residual_errors, "SmoothCache")
        self.passed = 0

    def planned_error(self, obs: Observation) -> float:
        return self.errors.at(obs.step, self.passed + 1)

    def follow(self, obs: Observation) -> None:
        self.passed += 1

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.passed = 0


POLICIES = (
    NamedPolicy(
        "smoothcache",
        "SmoothCache",
        Group.CALIBRATED,
        when="the recorded error of skipping it is small",
        how="the last computed result",
        policy=Policy(SmoothCache.name, Reuse.name, warmup_steps=1, max_consecutive=3, thresholds=everywhere(0.18)),
        source=Source("SmoothCache", "2411.11610"),
    ),
)
