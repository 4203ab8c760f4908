"""MagCache (Ma et al., arXiv 2506.09045): a calibrated curve of residual magnitudes decides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..measure import abs_sum, ratio
from ..observation import Observation
from .base import Indicator, Stage


class MagCache(Indicator):
    """``e = |1 - prod r|`` over the steps since the last computed one, ``r`` being the curve of residual magnitudes.

    The gate adds ``e`` up; ``max_consecutive`` caps the run of reused steps.  ``r`` at a step is ``mean|R| / mean|R|``
    of that step over the one before, recorded in one run of ``M`` steps; in a run of ``N`` steps the ratio at the same
    progress is taken to the power ``M / N``.  Steps that the curve does not cover are computed.
    """

    stage = Stage.INPUT
    calibrated = True

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        if not config.curve:
            raise ValueError(
                "MagCache needs a calibrated curve: make one with DiCache Calibrate and name it in the policy"
            )
        self.product = 1.0

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return []

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        curve, step = self.config.curve, seen.step
        place = round(step.progress * len(curve))
        if place >= len(curve) or curve[place] == 0:
            return math.inf
        self.product *= curve[place] ** (len(curve) / step.total)
        return abs(1.0 - self.product)

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.product = 1.0


class Magnitudes(Indicator):
    """Records MagCache's curve: the "error" of a step is ``mean|R| / mean|R|`` of the last two steps.

    To be used with a threshold too small to reuse anything and without warm-up; see ``dicache_core.curve``.
    """

    stage = Stage.INPUT
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.magnitudes: list[Tensor] = []  # 0-d float32, the last two

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return self.magnitudes if len(self.magnitudes) == 2 else []

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return ratio(sums[1], sums[0]) if sums else math.inf

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.magnitudes = [*self.magnitudes[-1:], abs_sum(value)]
