"""How wrong the forecast is, not how far things moved: the policy's own predictor, tried on the probe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, everywhere
from ..reductions import abs_sum, l1_distance, ratio
from .base import MeasuredIndicator
from .dicache import TrajectoryAlignment
from .indicators import indicator
from .output_line import OutputLine
from .predictors import predictor_class


@indicator("trajectory_error")
class TrajectoryError(MeasuredIndicator):
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
                f"trajectory_error needs a predictor that works on the probe, and {config.predictor} does not: "
                "choose another predictor, or another indicator such as easycache"
            )
        if self.shadow.residuals + self.shadow.probes > self.probes:
            raise ValueError(
                f"trajectory_error keeps {self.probes} probe tensors, {config.predictor} needs more: choose the "
                "predictor trajectory, taylor1 or taylor2"
            )

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        if not self.shadow.ready:
            return []
        forecast = torch.empty_like(obs.probe_residual)
        self.shadow.preview(obs, forecast)
        return [l1_distance(obs.probe_residual, forecast), abs_sum(obs.probe_residual)]

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        return ratio(*sums) if sums else math.inf

    @property
    def held(self) -> Sequence[Tensor]:
        return self.shadow.held

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.shadow.record(obs, obs.probe_residual)


POLICIES = (
    NamedPolicy(
        "trajectory_error",
        "trajectory error",
        Group.OWN,
        when="a prediction, tried on the first block, is good",
        how="along the line through the last two computed steps",
        policy=Policy(TrajectoryError.name, TrajectoryAlignment.name, thresholds=everywhere(0.1)),
    ),
    NamedPolicy(
        "trajectory_error_output",
        "trajectory error, output",
        Group.OWN,
        when="a prediction, tried on the first block, is good",
        how="along the line through the last two computed outputs",
        policy=Policy(TrajectoryError.name, OutputLine.name, thresholds=everywhere(0.1)),
    ),
)
