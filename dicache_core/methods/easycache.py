"""EasyCache (Zhou et al., arXiv 2507.02860): the input's movement times how much the output follows it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..reductions import abs_sum, l1_distance, ratio
from .base import MeasuredIndicator, Stage
from .indicators import indicator
from .predictors import predictor
from .reuse import OutputReuse


@indicator("easycache")
class EasyCache(MeasuredIndicator):
    """``e = k mean|x - x_prev| / mean|v_b|`` with ``k = mean|v_b - v_a| / mean|x_b - x_a|``.

    ``x`` is the model's input, ``v`` what is reused (its output, or the stack's residual), ``a`` and ``b`` the last two
    computed steps.  Decided before the model runs.
    """

    stage = Stage.INPUT

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.previous: Tensor | None = None  # x of the step before, (C, ...)
        self.computed: tuple[Tensor, Tensor] | None = None  # x_b and v_b
        self.moved: tuple[Tensor, Tensor] | None = None  # sum|v_b - v_a|, sum|x_b - x_a|

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        if self.moved is None:
            return []
        return [*self.moved, l1_distance(obs.latent, self.previous), abs_sum(self.computed[1])]

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        if not sums:
            return math.inf
        output, entry, now, size = sums
        return ratio(ratio(output, entry) * now, size)

    @property
    def held(self) -> Sequence[Tensor]:
        kept = [*(self.computed or ())]
        return kept if self.previous is None else [self.previous, *kept]

    def follow(self, obs: Observation) -> None:
        self.previous = obs.latent.clone()

    def learn(self, obs: Observation, value: Tensor) -> None:
        if self.computed is not None:
            latent, output = self.computed
            self.moved = (l1_distance(value, output), l1_distance(self.previous, latent))
        self.computed = (self.previous, value.clone())


@predictor("output_difference")
class OutputDifference(OutputReuse):
    """``v = x + (v_b - x_b)``, ``x`` being the model's input: what EasyCache reuses (arXiv 2507.02860, section 3.2).

    Of an input with further channels (masks, a start image) only the first ones, the latent's own, count.
    """

    wants_latent = True
    noise_aware = True

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.latent: Tensor | None = None

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.latent = obs.latent
        return 1.0

    def record(self, obs: Observation, value: Tensor) -> None:
        self.value = value.sub_(obs.latent[: len(value)])

    def forecast(self, out: Tensor) -> None:
        torch.add(self.latent[: len(out)], self.value, out=out)


POLICIES = (
    NamedPolicy(
        "easycache",
        "EasyCache",
        Group.EVERY_STEP,
        when="the input's change times how the output follows it is small",
        how="the last difference of output and input",
        policy=Policy(EasyCache.name, OutputDifference.name, thresholds=everywhere(0.05)),
        source=Source("EasyCache", "2507.02860"),
    ),
)
