"""Rules that look at nothing: a fixed interval, and a schedule written down beforehand."""

from __future__ import annotations

import math

from ..config import CacheConfig, parse_mask
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy
from .base import PlannedIndicator
from .indicators import indicator
from .reuse import OutputReuse, Reuse


@indicator("fixed")
class FixedInterval(PlannedIndicator):
    """Every step is as bad as the next, ``e = 1``; the limit being the interval, every ``interval``-th is computed."""

    limited_by = "interval"

    @classmethod
    def limit(cls, config: CacheConfig) -> float:
        return float(config.interval)

    def planned_error(self, obs: Observation) -> float:
        return 1.0


@indicator("mask")
class StepMask(PlannedIndicator):
    """Computes the steps that ``CacheConfig.mask`` says, ``"1,1,0,1"``, and all after its end."""

    limited_by = "mask"
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.computed = parse_mask(config.mask)

    def planned_error(self, obs: Observation) -> float:
        global_step = obs.step.global_step
        return math.inf if global_step >= len(self.computed) or self.computed[global_step] else 0.0


POLICIES = (
    NamedPolicy(
        "output_reuse",
        "last output",
        Group.OWN,
        when="every n-th step is computed",
        how="the last output",
        policy=Policy(FixedInterval.name, OutputReuse.name, interval=2, warmup_steps=3),
    ),
    NamedPolicy(
        "fixed_interval",
        "last result",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="the last computed result",
        policy=Policy(FixedInterval.name, Reuse.name, interval=2, warmup_steps=1),
    ),
    NamedPolicy(
        "step_mask",
        "step mask",
        Group.PLAN,
        when="the mask says so",
        how="the last computed result",
        policy=Policy(
            StepMask.name,
            Reuse.name,
            warmup_steps=0,
            mask="1,1,1,1,1,0,1,0,1,0,1,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,1",
        ),
    ),
)
