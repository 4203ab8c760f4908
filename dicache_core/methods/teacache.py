"""TeaCache (Liu et al., arXiv 2411.19108): how far the modulated input of the first block moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..reductions import rel_l1, rel_l1_sums
from .base import MeasuredIndicator, Stage
from .indicators import indicator
from .reuse import Reuse

# Powers falling to 0, as the authors published them for this very signal (github.com/ali-vilab/TeaCache: TeaCache4FLUX
# and TeaCache4HunyuanVideo).  Their numbers for Wan were fitted to the time embedding instead and do not apply.
POLYNOMIALS: dict[str, tuple[float, ...]] = {
    "flux": (498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861),
    "hunyuan_video": (733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896),
}
IDENTITY = (1.0, 0.0)


@indicator("teacache")
class TeaCache(MeasuredIndicator):
    """``d = max(0, poly(mean|f - f_prev| / mean|f_prev|))``, ``f`` being the modulated input of the first block.

    The polynomial maps the movement of the input to that of the output; it was fitted per model, and is the identity
    where nothing was published.
    """

    stage = Stage.ENTER
    wants_modulated = True
    probes = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.polynomial = POLYNOMIALS.get(config.architecture, IDENTITY)
        self.previous: Tensor | None = None  # (K, D)

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        return rel_l1_sums(obs.modulated, self.previous)

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        change = rel_l1(sums)
        if not math.isfinite(change):
            return math.inf
        value = 0.0
        for coefficient in self.polynomial:
            value = value * change + coefficient
        return max(0.0, value)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.previous is None else [self.previous]

    def follow(self, obs: Observation) -> None:
        self.previous = obs.modulated


POLICIES = (
    NamedPolicy(
        "teacache",
        "TeaCache",
        Group.EVERY_STEP,
        when="the time-modulated input changed little",
        how="the last computed result",
        policy=Policy(
            TeaCache.name, Reuse.name, warmup_steps=1, thresholds=everywhere(0.2, flux=0.4, hunyuan_video=0.15)
        ),
        source=Source("TeaCache", "2411.19108"),
    ),
)
