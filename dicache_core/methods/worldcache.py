"""WorldCache (Nawaz et al., arXiv 2603.22286): DiCache's probe with an eye for motion and for busy places.

Settings of the authors' first example (github.com/umair1221/WorldCache).  Their optional warping of residuals along an
optical flow needs the grid of tokens, which a residual ``(T, D)`` does not tell, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..reductions import abs_sum, l1_distance, ratio
from ..schedule import ModelCall
from .base import MeasuredIndicator
from .extrapolation import Extrapolation
from .indicators import indicator
from .predictors import predictor

MOTION = 2.0  # how much a moving input lowers the threshold
SALIENCE = 1.0  # how much more a busy token counts, at most
SMALLEST_GAMMA, LARGEST_GAMMA = 0.2, 1.8
TUNED_AT = 35  # steps that the relaxation was tuned at


@indicator("worldcache")
class WorldCache(MeasuredIndicator):
    """``e = sum d / f``, judged alone; the sum runs over the steps since the last computed one.

    ``d = mean (1 + SALIENCE s) |hm - hm_prev| / mean|hm_prev|``, ``s`` being a token's deviation over its channels in
    ``hm_prev``, scaled to [0, 1] over the tokens.  ``f`` scales the threshold:
    ``f = relaxation / (1 + MOTION mean|h0 - h0_prev| / mean|h0_prev|)``.
    """

    accumulates = False
    probes = 2

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.previous: tuple[Tensor, Tensor] | None = None  # hm and h0, (K, D) each
        self.drift = 0.0

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        if self.previous is None:
            return []
        hm, h0 = self.previous
        moved = (obs.hm.float() - hm.float()).abs().sum(-1)  # (K,)
        weighted = (moved * (1 + SALIENCE * salience(hm))).sum()
        return [weighted, abs_sum(hm), l1_distance(obs.h0, h0), abs_sum(h0)]

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        if not sums:
            return math.inf
        self.drift += ratio(*sums[:2])
        return self.drift * (1 + MOTION * ratio(*sums[2:])) / relaxation(obs.step)

    @property
    def held(self) -> Sequence[Tensor]:
        return self.previous or []

    def follow(self, obs: Observation) -> None:
        self.previous = None if obs.hm is None else (obs.hm, obs.h0)  # with threshold 0 no probe is looked at

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.drift = 0.0


def salience(h: Tensor) -> Tensor:
    """``(K,)`` float32 in [0, 1]: the deviation over the channels of every token of ``h`` ``(K, D)``."""
    deviation = h.float().std(-1)
    low, high = deviation.min(), deviation.max()
    return (deviation - low) / (high - low + 1e-6)


def relaxation(step: ModelCall) -> float:
    """``1 + m p`` at progress ``p``: late steps may drift further; ``m`` is a parabola in the number of steps."""
    u = step.total / TUNED_AT
    return 1 + (u * u / 6 + u / 2 + 10 / 3) * step.progress


@predictor("least_squares_gamma")
class LeastSquaresGamma(Extrapolation):
    """``R = R_a + gamma (R_b - R_a)``, ``gamma = <q - q_a, q_b - q_a> / |q_b - q_a|^2`` within [0.2, 1.8].

    Trajectory alignment whose factor is a least-squares fit of the probe residual ``q`` in place of a ratio of
    distances: it has a sign, and falls where the probe moves elsewhere.
    """

    residuals = 2
    probes = 2

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        if len(self.anchors) < 2:
            return []
        older, newer = (anchor.probe_residual.float() for anchor in self.anchors)
        line = newer - older
        return [((obs.probe_residual.float() - older) * line).sum(), line.square().sum()]

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        gamma = sums[0] / sums[1] if sums and sums[1] > 0 and math.isfinite(sums[0] / sums[1]) else 1.0
        gamma = min(max(gamma, SMALLEST_GAMMA), LARGEST_GAMMA)
        self.weights = (gamma, 1 - gamma) if len(self.anchors) > 1 else (1.0,)
        return gamma

    def preview(self, obs: Observation, out: Tensor) -> None:
        residuals = [self.shelf.load(anchor.residual) for anchor in self.anchors]
        if len(residuals) < 2:
            out.copy_(residuals[-1])
            return
        gamma = torch.div(*self.measure(obs)).nan_to_num(1.0, 1.0, 1.0).clamp(SMALLEST_GAMMA, LARGEST_GAMMA)
        out.copy_(residuals[0] + gamma * (residuals[1].float() - residuals[0]))


POLICIES = (
    NamedPolicy(
        "worldcache",
        "WorldCache",
        Group.EVERY_STEP,
        when=(
            "the first blocks drifted little; detailed places count more, motion makes it stricter, late steps less "
            "strict"
        ),
        how="along the line through the last two computed steps",
        policy=Policy(WorldCache.name, LeastSquaresGamma.name, probe_depth=2, thresholds=everywhere(0.06, wan=0.04)),
        source=Source("WorldCache", "2603.22286"),
    ),
)
