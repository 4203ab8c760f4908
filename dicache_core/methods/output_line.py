"""Predictors of the model's output ``v`` ``(C, ...)``: latents, about 1/50 of the memory of hidden states.

Their anchors stay beside the model whatever the storage says, as they are too small to be worth a transfer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy
from .base import Predictor, Space
from .planned import FixedInterval
from .predictors import predictor


@dataclass(frozen=True, slots=True)
class OutputAnchor:
    """A computed call: its output ``(C, ...)`` and where it was, in sigma or log-SNR."""

    value: Tensor
    position: float


def horizon_of(anchors: Sequence[OutputAnchor], position: float) -> float:
    """``g = (l - l_b) / (l_b - l_a)``: how far ahead of the last two calls ``l`` is; 0 with fewer than two."""
    if len(anchors) < 2:
        return 0.0
    older, newer = anchors
    return (position - newer.position) / (newer.position - older.position)


def hindsight(forecast: Tensor, true: Tensor) -> Tensor:
    """``clip(<p, d> / <p, p>, 0, 1)``, 0-d: the best factor on a change ``p`` that was forecast where ``d`` came.

    It stays on the device: no sync.
    """
    return best_factor((forecast * true).sum(), forecast.square().sum())


def best_factor(along: Tensor, length: Tensor) -> Tensor:
    """``hindsight`` from ``<p, d>`` and ``<p, p>``, 0-d both."""
    return (along / length).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)


@predictor("output_line")
class OutputLine(Predictor):
    """``v = v_b + w g (v_b - v_a)`` with ``g = (sigma - sigma_b) / (sigma_b - sigma_a)``: a shrunk line.

    ``w`` is learnt by self-audit: whenever a step is computed, the line could have forecast it.  With ``p`` the change
    it would have forecast and ``d`` the true one, ``w = clip(<p, d> / <p, p>, 0, 1)`` is the best factor in hindsight,
    and serves until the next computed step.  It stays on the device: no sync.
    """

    space = Space.OUTPUT
    noise_aware = False
    FIRST_SHRINKAGE = 0.6  # before the first audit, which needs three computed steps

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[OutputAnchor] = deque(maxlen=2)  # the newest last
        self.shrinkage: Tensor | None = None  # w, 0-d float32
        self.horizon = 0.0  # g

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.horizon = horizon_of(self.anchors, obs.step.sigma)
        return 1.0 + self.horizon

    def record(self, obs: Observation, value: Tensor) -> None:
        horizon = horizon_of(self.anchors, obs.step.sigma)
        if horizon != 0:
            older, newer = (anchor.value.float() for anchor in self.anchors)
            forecast, true = horizon * (newer - older), value.float() - newer
            self.shrinkage = hindsight(forecast, true)
        if self.anchors and self.anchors[-1].position <= obs.step.sigma:
            self.anchors.pop()  # the same moment again: two anchors there would have no slope between them
        self.anchors.append(OutputAnchor(value, obs.step.sigma))

    def forecast(self, out: Tensor) -> None:
        if len(self.anchors) == 1:
            out.copy_(self.anchors[0].value)
            return
        older, newer = (anchor.value for anchor in self.anchors)
        shrinkage = self.FIRST_SHRINKAGE if self.shrinkage is None else self.shrinkage
        out.copy_(newer + (shrinkage * self.horizon) * (newer.float() - older))

    @property
    def held(self) -> Sequence[Tensor]:
        return [anchor.value for anchor in self.anchors]


POLICIES = (
    NamedPolicy(
        "output_line",
        "output line",
        Group.OWN,
        when="every n-th step is computed",
        how="along the line through the last two computed outputs",
        policy=Policy(FixedInterval.name, OutputLine.name, interval=2, warmup_steps=3),
    ),
)
