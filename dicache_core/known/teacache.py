"""TeaCache (Liu et al., arXiv 2411.19108): how far the modulated input of the first block moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator, Stage
from ..measure import moved, movement
from ..observation import Observation

# Powers falling to 0, as the authors published them for this very signal (github.com/ali-vilab/TeaCache: TeaCache4FLUX
# and TeaCache4HunyuanVideo).  Their numbers for Wan were fitted to the time embedding instead and do not apply.
POLYNOMIALS: dict[str, tuple[float, ...]] = {
    "flux": (498.651651, -283.781631, 55.8554382, -3.82021401, 0.264230861),
    "hunyuan_video": (733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896),
}
IDENTITY = (1.0, 0.0)


class TeaCache(Indicator):
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

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return movement(seen.modulated, self.previous)

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        change = moved(sums)
        if not math.isfinite(change):
            return math.inf
        value = 0.0
        for coefficient in self.polynomial:
            value = value * change + coefficient
        return max(0.0, value)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.previous is None else [self.previous]

    def follow(self, seen: Observation) -> None:
        self.previous = seen.modulated
