"""CacheQuant's correction (arXiv 2503.01323): a scale and a shift per channel make good what reuse gets wrong.

Quantised weights, the other half of the paper, are the host's own business: every policy runs on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source
from .extrapolation import Extrapolation
from .planned import FixedInterval
from .predictors import predictor


@predictor("channel_correction")
class ChannelCorrection(Extrapolation):
    """``R = (1 + g (a - 1)) R_b + g c``, ``a = cov(R_b, R_a) / var(R_a)``, ``c = mean R_b - a mean R_a`` per channel.

    Means, variance and covariance run over the tokens.  The authors learn ``a`` and ``c`` for every step beforehand;
    here they are learnt at every computed step from the one before it, and ``g`` is how far ahead the forecast reaches
    in units of that gap.
    """

    residuals = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.learnt: tuple[Tensor, Tensor] | None = None  # a and c, (D,) float32
        self.gap = 0.0  # steps that they were learnt over
        self.ahead = 0.0  # g

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.ahead = (obs.step.time - self.anchors[-1].time) / self.gap if self.learnt else 0.0
        return 1.0 + self.ahead

    def record(self, obs: Observation, value: Tensor) -> None:
        if self.anchors and obs.step.time > self.anchors[-1].time:
            self.gap = obs.step.time - self.anchors[-1].time
            self.learnt = scale_and_shift(self.shelf.load(self.anchors[-1].residual), value)
        super().record(obs, value)

    def forecast(self, out: Tensor) -> None:
        newest = self.shelf.load(self.anchors[-1].residual)
        if self.learnt is None:
            out.copy_(newest)
            return
        scale, shift = self.learnt
        out.copy_(newest * (1 + self.ahead * (scale - 1)) + self.ahead * shift)

    @property
    def held(self) -> Sequence[Tensor]:
        return [*(self.learnt or ()), *super().held]


def scale_and_shift(older: Tensor, newer: Tensor) -> tuple[Tensor, Tensor]:
    """``a`` and ``c`` of the least-squares line ``newer = a older + c`` per channel of ``(T, D)``, ``(D,)`` float32."""
    x, y = older.float(), newer.float()
    x_mean, y_mean = x.mean(0), y.mean(0)
    scale = (((x - x_mean) * (y - y_mean)).mean(0) / (x - x_mean).square().mean(0)).nan_to_num(1.0, 1.0, 1.0)
    return scale, torch.addcmul(y_mean, scale, x_mean, value=-1)


POLICIES = (
    NamedPolicy(
        "cachequant",
        "CacheQuant",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="the last computed result, with a scale and a shift for each channel",
        policy=Policy(FixedInterval.name, ChannelCorrection.name, interval=5, warmup_steps=1),
        source=Source("CacheQuant", "2503.01323"),
    ),
)
