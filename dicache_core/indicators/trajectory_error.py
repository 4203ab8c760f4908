"""How wrong the forecast is, not how far things moved: the policy's own predictor, tried on the probe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..indicator import Indicator
from ..measure import abs_sum, distance, ratio
from ..observation import Observation
from ..predictors import predictor_class


class TrajectoryError(Indicator):
    """``e = mean|q - q^| / mean|q|``, ``q^`` being what the policy's predictor makes of the probe's own history.

    The probe's truth is known on every step, so a second predictor of the same kind, fed with probe residuals in place
    of the stack's, shows on the probe how wrong the first one is about the stack.
    """

    probes = 4  # trajectory alignment's two residuals and two probe residuals, the most that a predictor keeps

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.shadow = predictor_class(config.predictor)(config)
        if self.shadow.wants_latent:
            raise ValueError(
                f"trajectory_error tries a predictor on the probe, but {config.predictor} works with the model's "
                "input: choose another predictor, or another indicator such as easycache"
            )

        if self.shadow.residuals + self.shadow.probes > self.probes:
            raise ValueError(
                f"trajectory_error keeps {self.probes} probe tensors, {config.predictor} needs more: choose the "
                "predictor trajectory, taylor1 or taylor2"
            )

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        if not self.shadow.ready:
            return []
        forecast = torch.empty_like(seen.probe_residual)
        self.shadow.preview(seen, forecast)
        return [distance(seen.probe_residual, forecast), abs_sum(seen.probe_residual)]

    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        return ratio(*sums) if sums else math.inf

    @property
    def held(self) -> Sequence[Tensor]:
        return self.shadow.held

    def learn(self, seen: Observation, value: Tensor) -> None:
        self.shadow.record(seen, seen.probe_residual)
