"""Sensitivity (after SenCache, Haghighi and Alahi, arXiv 2602.24208): change of input and of time, weighted."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..reductions import abs_sum, l1_distance, ratio
from .base import MeasuredIndicator, Stage
from .indicators import indicator
from .reuse import OutputReuse


@indicator("sensitivity")
class Sensitivity(MeasuredIndicator):
    """``e = (s_x |x - x_b| + s_t |sigma - sigma_b|) / 2 mean|v_b|``, since the last computed step ``b``.

    The paper calibrates both sensitivities beforehand.  Here they come from the last two computed steps, each as if the
    other had not changed: ``s_x = |v_b - v_a| / |x_b - x_a|`` and ``s_t = |v_b - v_a| / |sigma_b - sigma_a|``; half of
    their sum does not count the change twice.
    """

    stage = Stage.INPUT
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.latent: Tensor | None = None  # x of this step, (C, ...)
        self.computed: tuple[Tensor, Tensor, float] | None = None  # x_b, v_b and sigma_b
        self.moved: tuple[Tensor, Tensor, float] | None = None  # sum|v_b - v_a|, sum|x_b - x_a|, |sigma_b - sigma_a|

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        if self.moved is None:
            return []
        latent, value, _ = self.computed
        return [*self.moved[:2], l1_distance(obs.latent, latent), abs_sum(value)]

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        if not sums:
            return math.inf
        output, entry, now, size = sums
        passed = ratio(abs(obs.step.sigma - self.computed[2]), self.moved[2])
        return (ratio(output, size) * (ratio(now, entry) + passed)) / 2

    @property
    def held(self) -> Sequence[Tensor]:
        return [self.latent, *self.computed[:2]] if self.computed else []

    def learn(self, obs: Observation, value: Tensor) -> None:
        sigma = obs.step.sigma
        if self.computed is not None:
            latent, output, before = self.computed
            self.moved = (l1_distance(value, output), l1_distance(self.latent, latent), abs(before - sigma))
        self.computed = (self.latent, value.clone(), sigma)

    def follow(self, obs: Observation) -> None:
        self.latent = obs.latent.clone()  # learn comes after the model, which may have changed its input


POLICIES = (
    NamedPolicy(
        "sensitivity",
        "sensitivity (SenCache)",
        Group.EVERY_STEP,
        when="the weighted change of input and time is small",
        how="the last output",
        policy=Policy(Sensitivity.name, OutputReuse.name, thresholds=everywhere(0.1)),
        source=Source("SenCache", "2602.24208", idea_only=True),
    ),
)
