"""MagCache (Ma et al., arXiv 2506.09045): a calibrated curve of residual magnitudes decides."""

from __future__ import annotations

import math

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from .base import PlannedIndicator
from .indicators import indicator
from .reuse import Reuse


@indicator("magcache")
class MagCache(PlannedIndicator):
    """``e = |1 - prod r|`` over the steps since the last computed one, ``r`` being the curve of residual magnitudes.

    The gate adds ``e`` up; ``max_consecutive`` caps the run of reused steps.  ``r`` at a step is ``mean|R| / mean|R|``
    of that step over the one before, recorded in one run of ``M`` steps; in a run of ``N`` steps the ratio at the same
    progress is taken to the power ``M / N``.  Steps that the curve does not cover are computed.
    """

    calibrated = True

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        if not config.magnitude_ratios:
            raise ValueError(
                "MagCache needs a calibration: run DiCache Calibrate and choose its result in DiCache Policy"
            )
        self.product = 1.0

    def planned_error(self, obs: Observation) -> float:
        ratios, step = self.config.magnitude_ratios, obs.step
        position = round(step.progress * len(ratios))
        if position >= len(ratios) or ratios[position] == 0:
            return math.inf
        self.product *= ratios[position] ** (len(ratios) / step.total)
        return abs(1.0 - self.product)

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.product = 1.0


POLICIES = (
    NamedPolicy(
        "magcache",
        "MagCache",
        Group.CALIBRATED,
        when="the recorded size of the model's work changed little",
        how="the last computed result",
        policy=Policy(
            MagCache.name, Reuse.name, max_consecutive=4, thresholds=everywhere(0.12, flux=0.24, hunyuan_video=0.06)
        ),
        source=Source("MagCache", "2506.09045"),
    ),
)
