"""The forecast method under samplers that add noise: what was added is seen in ``x``, and how much of it the model lets
through is learnt in the run itself.

*When* is the other way round than without noise: late calls are skipped first, as far as the error estimate allows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..schedule import ModelCall, Schedule
from .base import AuditedPredictor
from .error_estimate import ErrorEstimator, latent_weight_of
from .forecast import CorrectedLine, ForecastRule
from .indicators import indicator
from .output_line import OutputAnchor, best_factor, horizon_of
from .predictors import predictor
from .rings import RINGS, Rings

AUDITS = 2  # forecasts held against what came before anything is skipped
# How far images were off against what the sampler's weights alone say: a model that answers a moved ``x`` adds to small
# errors and not to large ones, ``AMPLIFIED * error^SATURATION``.
AMPLIFIED, SATURATION = 0.62, 0.8
FALLS = 1.5  # power of the noise's share by which forecasts get better along a run
FIRST_PART = 1 / 4  # of the schedule, which is computed: there the model answers new noise by another image
MOST = 2 / 3  # of the calls: where so many are computed, skips are kept for late calls:
FIRST_HALF, LAST_PART = 1 / 2, 4 / 5  # the first half is computed, and in the last fifth two in a row may be skipped
LARGEST_CORRECTION = 2.0  # of what a forecast was off by, in the computed output after it
KEPT = 0.02  # of its first noise, at the last call of a whole schedule: with more, what skips were off by stays, too
FOLLOWED = 0.999  # of the signal: with all of it, the prior of a ring would be infinite


def for_schedule(config: CacheConfig, schedule: Schedule) -> CacheConfig:
    """``config`` for a run along ``schedule``: the forecast method's rules of this module where its sampler adds noise
    and what its calls weigh is known.

    A sampler that adds little noise (an eta of a half, say) computes every call: Flux under one ended at 22 dB.  A plan
    found under others says nothing of them.
    """
    forecast = (config.indicator, config.predictor) == (ForecastRule.name, CorrectedLine.name)
    noisy = [sequence for sequence in schedule.sequences if sequence.next_weights]
    if not forecast or not noisy:
        return config
    whole = schedule.total / schedule.steps  # a part of a schedule keeps more than all of it would
    if max(sequence.noise[-1] for sequence in noisy) ** whole > KEPT:
        return config
    return replace(config, indicator=NoiseRule.name, predictor=NoiseForecast.name, plan=None)


def expected_pace(step: ModelCall) -> float:
    """How far off a forecast is expected to be per unit of log-SNR, ``s^FALLS`` with the noise's share ``s``.

    Found on three models under two samplers: the denoised image of trained models moves by so much less late in a run.
    """
    return step.schedule.noise_share(step.sigma) ** FALLS


@indicator("noise_forecast")
class NoiseRule(ForecastRule):
    """``e = s^1.5 (l - l_b)``, see ``expected_pace``: late calls first, and seldom two in a row.

    A pair of skipped calls costs more than two calls that stand apart: 17 of 30 calls in pairs were 1 to 6 dB behind 18
    of 30 apart.  Where few are skipped, a late pair is still better than a call far ahead of it.  Which calls the run
    can bear says the predictor's ``latent_error``.
    """

    power = 1.0

    def planned_error(self, obs: Observation) -> float:
        skipped = obs.step.call_index - self.last_computed  # in a row, with this one
        pairs = LAST_PART if self._computes_most(obs.step) else math.inf
        closed = obs.step.progress < self.first_part(obs.step) or skipped > (2 if obs.step.progress >= pairs else 1)
        return math.inf if closed else super().planned_error(obs)

    def first_part(self, step: ModelCall) -> float:
        """Share of the whole schedule of ``step`` that is computed before anything may be skipped."""
        return FIRST_HALF if self._computes_most(step) else FIRST_PART

    def position(self, step: ModelCall) -> float:
        return step.log_snr

    def pace(self, step: ModelCall) -> float:
        return expected_pace(step)

    def _computes_most(self, step: ModelCall) -> bool:
        return self.computed_share(step) >= MOST


class NoiseErrorEstimator(ErrorEstimator):
    """As its base, with the end of the run in view: a call is skipped where all calls that are expected to be better
    forecast, every second one of those after it, can still be skipped too.

    So what a preset allows is spent where it buys most, on the last calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._audits = 0

    @property
    def audited(self) -> bool:
        return self._audits >= AUDITS

    def compute(self, output: Tensor, denoised: Tensor, sq_error: Tensor | None = None, horizon: float = 0.0) -> None:
        super().compute(output, denoised, sq_error, horizon)
        self._audits += horizon > 0

    def latent_error_of(self, skips: Sequence[float]) -> float:
        """The run's latent error with further calls skipped; 0 before the first sums.

        Of each it takes how far off its forecast will be against the one audited last, times its weight.
        """
        if self._fetched is None:
            return 0.0
        spent, sq_error, denoised, output = self._fetched
        if sq_error >= output:  # nothing at all would have been no worse a forecast
            return math.inf
        added = sq_error * sum(skip**2 for skip in skips)
        return math.inf if denoised <= 0 else AMPLIFIED * ((spent + added) / denoised) ** (SATURATION / 2)


@predictor("noise_forecast")
class NoiseForecast(AuditedPredictor):
    """Forecast of the image ``D`` that the model sees: ``D = D_b + w g (D_b - D_a) + J i``.

    ``b`` is the call computed last, ``a`` the one before it, and ``g`` as in ``CorrectedLine``.

    With ``x = a D + s n`` at each noise level, ``x`` would be known without new noise, and

        ``i = x - (a D_b + s n_b)``,  ``n_b = (x_b - a_b D_b) / s_b``

    is the innovation: the noise that was added, and how the step shrank the old one.  Late in a run the model mostly
    lets a part ``J`` of it through.  That is learnt at computed calls, in each ring ``f`` of spatial frequency,

        ``J(f) = <i, D - D_b>_f / <i, i>_f``  within ``[0, 1 / a)``,

    and carried to another noise level as a Wiener filter's: ``a J / (1 - a J) = P a^2 / s^2`` with one prior ``P(f)``.

    Every computed call audits all ways of telling it: ``D_b`` held, the line, the innovation, both, and the direction
    ``(x - D) / s`` held, which is the innovation let through whole.  The one that would have been best is used next.
    All of it stays on the device: no sync.

    What the skipped calls before a computed one were off by is taken to have grown evenly up to what it was there, and
    as much of that as they weigh in ``x`` against it is added to its output: at the same calls that was 0.3 to 4 dB.
    """

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.error_estimator = NoiseErrorEstimator()
        self.anchors: deque[OutputAnchor] = deque(maxlen=2)  # the newest last
        self.latent: Tensor | None = None  # x_b, (C, ...)
        self.computed: ModelCall | None = None  # b
        self.prior = torch.zeros(RINGS)  # P
        self.shrinkage: Tensor | float = 0.0  # w, 0-d
        self.errors: Tensor | None = None  # (ways,) sums of squares of the newest audit
        self.off_by = 0.0  # sum over the skipped calls of how far they were ahead of b, in log-SNR, times their weight
        self.correction: Tensor | None = None  # of the output recorded last, (C, ...) float32
        self._obs: Observation | None = None  # being forecast
        self._rings: Rings | None = None

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self._obs = obs
        return 1.0

    def forecast(self, out: Tensor) -> None:
        obs, self._obs = self._obs, None  # x is the host's
        self.error_estimator.skip(obs.step)
        self.off_by += latent_weight_of(obs.step) * self._ahead(obs.step)
        out.copy_(self._told(obs))

    def record(self, obs: Observation, value: Tensor) -> None:
        ahead, sq_error, self.correction = 0.0, None, None
        if self.anchors:
            ahead = self._ahead(obs.step)
            sq_error = self._audit(obs, value, ahead)
            if ahead <= 0:  # the same noise level again: it has no slope, and says nothing of other levels
                self.anchors.pop()
        if obs.denoised is not None:
            self.error_estimator.compute(value, obs.denoised, sq_error, max(0.0, ahead))
        self.anchors.append(OutputAnchor(value, obs.step.log_snr))
        self.latent, self.computed, self.off_by = obs.latent.clone(), obs.step, 0.0

    def correct(self, out: Tensor) -> bool:
        if self.correction is None:
            return False
        out.add_(self.correction)
        self.correction = None
        return True

    def latent_error(self, step: ModelCall) -> float:
        if not self.anchors:
            return 0.0
        weight = self.error_estimator.latent_weight + latent_weight_of(step)
        skips = [self._skip(step, self.computed, weight)]
        for index in range(step.call_index + 2, len(step.sequence.sigmas) - 1, 2):
            call = step.at(index)
            if self.config.block_reason(call) is None:
                skips.append(self._skip(call, step.at(index - 1), latent_weight_of(call)))
        return self.error_estimator.latent_error_of(skips)

    @property
    def held(self) -> Sequence[Tensor]:
        beside = [] if self.latent is None else [self.latent]
        return [*(self._rings.held if self._rings else []), *beside, *(anchor.value for anchor in self.anchors)]

    def _skip(self, step: ModelCall, since: ModelCall, weight: float) -> float:
        """How far off ``step`` will be if ``since`` was computed last, see ``latent_error_of``; it comes out at the
        next call.

        Up to ``step`` the image moves at the paces of both: where a schedule leaps from much noise to next to none,
        that at its end alone would say that nothing happens on the way.
        """
        if self.error_estimator.horizon <= 0:
            return math.inf
        pace, reach = expected_pace(step), step.schedule.log_snr(step.next_call_sigma) - since.log_snr
        on_the_way = (expected_pace(since) + pace) / 2 * (step.log_snr - since.log_snr)
        audited = expected_pace(self.computed) * self.error_estimator.horizon
        return max(pace * reach, on_the_way) / audited * weight

    def _ahead(self, step: ModelCall) -> float:
        return step.log_snr - self.anchors[-1].position

    def _innovation(self, obs: Observation) -> Tensor:
        """``i``, ``(C, ...)`` float32."""
        step, shrunk = obs.step, obs.step.sigma / self.computed.sigma
        image = step.alpha - shrunk * self.computed.alpha
        return obs.latent.float() - shrunk * self.latent.float() - image * self.anchors[-1].value.float()

    def _line(self, step: ModelCall) -> Tensor | None:
        """``g (D_b - D_a)``, ``(C, ...)`` float32; ``None`` with a single anchor."""
        if len(self.anchors) < 2:
            return None
        older, newer = self.anchors
        return horizon_of(self.anchors, step.log_snr) * (newer.value.float() - older.value.float())

    def _ways(self, step: ModelCall) -> tuple[Tensor, Tensor]:
        """Of each way its factor on the line, ``(ways,)``, and its gains on the innovation, ``(ways, RINGS)``."""
        device = self.anchors[-1].value.device
        odds = self.prior.to(device) * (step.alpha / step.sigma) ** 2
        gains = odds / (1 + odds) / step.alpha
        none, whole = torch.zeros_like(gains), torch.ones_like(gains)
        w = torch.as_tensor(self.shrinkage, device=device, dtype=torch.float32)
        zero = torch.zeros_like(w)
        return torch.stack([zero, w, zero, w, zero]), torch.stack([none, none, gains, gains, whole])

    def _told(self, obs: Observation) -> Tensor:
        """The forecast for ``obs`` by the way that was best, ``(C, ...)`` float32."""
        newest = self.anchors[-1].value.float()
        if self.errors is None:
            return newest
        factors, gains = self._ways(obs.step)
        best = (torch.arange(len(self.errors), device=newest.device) == self.errors.argmin()).float()
        line, told = self._line(obs.step), self._filtered(self._innovation(obs), best @ gains) + newest
        return told if line is None else told + (best @ factors) * line

    def _filtered(self, values: Tensor, gains: Tensor) -> Tensor:
        rings = self._rings
        return rings.transform(rings.transform(values) * rings.spread(gains))

    def _audit(self, obs: Observation, value: Tensor, ahead: float) -> Tensor:
        """Hold all ways against what came, learn from it, and prepare the correction; the sum of squares by which the
        way in force was off."""
        if self._rings is None:
            self._rings = Rings(value.shape, value.device)
        moved, rings = value.float() - self.anchors[-1].value.float(), self._rings
        innovation, line = self._innovation(obs), self._line(obs.step)
        told = self._told(obs) if self.error_estimator.latent_weight else None
        along = torch.zeros_like(moved) if line is None else line
        i, d, p = (rings.transform(values) for values in (innovation, moved, along))
        ii, id_, dd, pp, pd, pi = rings.sums(torch.stack([i * i, i * d, d * d, p * p, p * d, p * i]))
        factors, gains = self._ways(obs.step)
        factors = factors[:, None]
        off = dd - 2 * factors * pd - 2 * gains * id_ + factors**2 * pp + 2 * factors * gains * pi + gains**2 * ii
        errors = off.sum(1).clamp(min=0.0)
        used = errors[0] if self.errors is None else errors.gather(0, self.errors.argmin().view(1))[0]
        if told is not None:
            error = value.float() - told
            obs.displaced = self.error_estimator.displaced_by(error, obs.step)
            self.correction = self._correction(obs.step, error, ahead)
        if ahead > 0:
            self.errors, self.shrinkage = errors, best_factor(pd.sum(), pp.sum())
            followed = (obs.step.alpha * id_ / ii).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, FOLLOWED)
            self.prior = followed / (1 - followed) * (obs.step.sigma / obs.step.alpha) ** 2
        return used

    def _correction(self, step: ModelCall, error: Tensor, ahead: float) -> Tensor | None:
        """What is added to the output of ``step``, whose forecast was off by ``error``, for the skips before it."""
        weight = latent_weight_of(step)
        if ahead <= 0 or weight <= 0:
            return None
        return error * min(LARGEST_CORRECTION, self.off_by / ahead / weight)
