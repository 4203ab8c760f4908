"""After TC-Padé ("Trajectory-Consistent Padé Approximation", arXiv 2603.02943): a rational forecast, damped.

The paper has no code yet, and the formulas that summaries of it give cannot be meant as they stand: a residual in the
denominator, beside a 1.  Taken over are the order of the rational function, the stability factor with its 10, the
interval of 4 and the stages; its weights for the first stage and its extra term for the last are not known.
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

SENSITIVITY = 10.0
STRUCTURE = 0.3  # share of the schedule in which the newest residual is reused: structure changes too fast to forecast


@predictor("tc_pade")
class TcPade(Extrapolation):
    """``R = R_b + s (r(h) - R_b)``, ``s = exp(-10 |R_b - R_a| / |R_b + R_a|)``, the norms being Euclidean.

    ``r(h) = R_b + m h / (1 + q h)`` is the rational function through the last three computed steps ``c``, ``a``, ``b``,
    value by value; ``h`` counts gaps between ``a`` and ``b``.  ``q`` is held in [0, 1]: below, it would have a pole
    ahead (a line serves), above, one behind (the value turned around, and is held).
    """

    residuals = 3

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.ahead = 0.0  # h
        self.settled = False  # whether the first stage is over

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.settled = obs.step.progress >= STRUCTURE
        if len(self.anchors) > 1:
            older, newer = self.anchors[-2].time, self.anchors[-1].time
            self.ahead = (obs.step.time - newer) / (newer - older)
        return 1.0 + self.ahead

    def forecast(self, out: Tensor) -> None:
        newest, *older = (self.shelf.load(anchor.residual).float() for anchor in reversed(self.anchors))
        if not older or not self.settled:
            out.copy_(newest)
            return
        moved = newest - older[0]
        stability = torch.exp(-SENSITIVITY * moved.norm() / (newest + older[0]).norm()).nan_to_num(0.0)
        bend = self._bend(moved, older[0] - older[1]) if len(older) > 1 else torch.zeros_like(moved)
        out.copy_(newest + stability * self.ahead * moved * (1 - bend) / (1 + bend * self.ahead))

    def _bend(self, moved: Tensor, before: Tensor) -> Tensor:
        """``q = (c_b - k m_b) / (k m_a)`` for movements ``m_b``, ``m_a`` and their sum ``c_b`` over ``k`` gaps."""
        oldest, older, newer = (anchor.time for anchor in self.anchors)
        k = (newer - oldest) / (newer - older)
        return ((moved + before - k * moved) / (k * before)).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)


POLICIES = (
    NamedPolicy(
        "tc_pade",
        "rational (TC-Padé)",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="a rational function, damped where results change fast",
        policy=Policy(FixedInterval.name, TcPade.name, interval=4, warmup_steps=3),
        source=Source("TC-Padé", "2603.02943", idea_only=True),
    ),
)
