"""This pack's own: the error of a step is foreseen from the schedule alone; nothing has to run to decide."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator, Stage
from ..observation import Observation
from ..predictors.corrected import log_snr

NEAR_NOISE = 0.01  # keeps the weight finite where everything is still noise


class Foreseen(Indicator):
    """``e = sqrt(dsigma / (1 - sigma)) (l - l_b)``, ``l`` being log-SNR and ``b`` the step computed last.

    The second factor is how far a forecast from ``b`` has to reach, the first how much of the step's output stays in
    the picture: what is wrong early, when there is little signal yet, is noise to the steps that follow.
    """

    stage = Stage.INPUT
    foresees = True

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchor = 0

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        return []

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return self.foresee(seen.step.sigmas, seen.step.index, self.anchor)

    def foresee(self, sigmas: Sequence[float], index: int, anchor: int) -> float:
        width = max(0.0, sigmas[index] - sigmas[index + 1])
        weight = (width / (max(0.0, 1.0 - sigmas[index]) + NEAR_NOISE)) ** 0.5
        return weight * (log_snr(sigmas[index]) - log_snr(sigmas[max(anchor, 0)]))

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.anchor = seen.step.index
