"""Records, in one full run, what the calibrated methods decide by; see ``dicache_core.calibration``."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..reductions import abs_sum, l1_distance, probe_token_count, probe_token_index
from .base import MeasuredIndicator, Stage
from .indicators import indicator

GAPS = 8  # steps back that a residual and a velocity are compared over, at most


@indicator("recorder")
class Recorder(MeasuredIndicator):
    """Measures, one step later, how a step's residual and its velocity differ from those of the steps before.

    To be used with a threshold too small to reuse anything and without warm-up.  The sums: ``|R|`` on all tokens and
    that of the step before; then, for residuals on the probe tokens and for velocities, ``|y|`` and ``|y - y_k|`` for
    ``k`` from 1 to ``GAPS``, infinite where there was no such step.  The velocity of a step is that from its input to
    the next one's.
    """

    stage = Stage.INPUT
    accumulates = False
    records_blocks = True
    probes = GAPS + 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.magnitudes: deque[Tensor] = deque(maxlen=2)  # 0-d float32
        self.residuals: deque[Tensor] = deque(maxlen=GAPS + 1)  # (K, D), the newest last
        self.velocities: deque[Tensor] = deque(maxlen=GAPS + 1)  # (C, ...), the newest last
        self.before: tuple[Tensor, float] | None = None  # the input of the step before and its sigma

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        if self.before is None or not self.residuals:
            return []
        latent, sigma = self.before
        if obs.step.sigma < sigma:
            self.velocities.append((obs.latent.float() - latent) / (obs.step.sigma - sigma))
        nothing = torch.full((), math.inf, device=obs.latent.device)
        magnitudes = [self.magnitudes[-1], self.magnitudes[0] if len(self.magnitudes) == 2 else nothing]
        return [*magnitudes, *_row(self.residuals, nothing), *_row(self.velocities, nothing)]

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        return relative(sums)[0] or math.inf if sums else math.inf

    @property
    def held(self) -> Sequence[Tensor]:
        return [*self.residuals, *self.velocities]

    def follow(self, obs: Observation) -> None:
        self.before = (obs.latent.float().clone(), obs.step.sigma)

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.magnitudes.append(abs_sum(value))
        index = probe_token_index(len(value), probe_token_count(len(value)), value.device)
        self.residuals.append(value.clone() if index is None else value.index_select(0, index))


def relative(sums: Sequence[float]) -> tuple[float, ...]:
    """The ratio of magnitudes, then ``GAPS`` relative errors of residuals and of velocities; 0 for the unknown."""
    magnitude, before, *rows = sums
    half = len(rows) // 2
    errors = [_over(error, row[0]) for row in (rows[:half], rows[half:]) for error in row[1:]]
    return (_over(magnitude, before), *errors)


def _row(values: Sequence[Tensor], nothing: Tensor) -> list[Tensor]:
    newest, *older = reversed(values) if values else (nothing,)
    distances = [l1_distance(newest, value) for value in older]
    return [abs_sum(newest), *distances, *[nothing] * (GAPS - len(distances))]


def _over(part: float, whole: float) -> float:
    return part / whole if math.isfinite(part) and math.isfinite(whole) and whole > 0 else 0.0
