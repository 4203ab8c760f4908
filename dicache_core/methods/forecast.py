"""The forecast method, this pack's own: outputs are forecast on a line in log-SNR and corrected afterwards.

*When* follows from the schedule alone, so nothing has to run to decide; *how* is a shrunk line through the last two
computed outputs.  What skipping has cost is estimated in ``error_estimate``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy
from ..schedule import LEAST_SIGNAL, ModelCall
from .base import AuditedPredictor, PacedIndicator
from .indicators import indicator
from .output_line import OutputAnchor, best_factor, horizon_of
from .planned import FixedInterval
from .predictors import predictor

# Of ``ForecastRule``, both in a latent of ``FEW_VALUES``:
EDGE = 0.01  # keeps log-SNR finite at both ends
NEAR_NOISE = 0.03  # keeps the weight finite where everything is still noise


@indicator("forecast")
class ForecastRule(PacedIndicator):
    """``e = sqrt(ds) (l - l_b)^1.25 / (1 - s)^g``, ``s`` being the noise's share, ``l`` log-SNR, ``b`` the call
    computed last.  The plan is the one whose skipped calls have the smallest sum of ``e``.

    ``(l - l_b)^1.25`` is how far off a forecast from ``b`` is: between a value held and a line followed.  ``sqrt(ds)``
    is what the call's output weighs in ``x``, its root because errors of neighbours are not the same.  For rectified
    flow ``s`` is sigma; ``ds`` is the smaller of two: how far sigma falls until the next call, and what the call's
    output weighs (``ModelCall.clamped_weight``).  At the second of two calls at one noise level ``ds`` and reach are 0.

    ``1 / (1 - s)^g`` is how an error grows until the end.  Against the signal that is there, an error of ``D`` in ``x``
    is ``D / (1 - s)``, and the calls after it build on it (``ErrorEstimator``): ``g = 1``.  That counts in full where
    half of the calls are computed.  Where fewer are, the errors of later calls are no longer small beside it, and an
    early one that is lost grows no further: ``g`` falls to a half at two fifths of the calls, ``g = (1 + k) / 2`` with
    ``k = 10 r - 4`` between 0 and 1, ``r`` being the computed share.

    Near noise ``l`` and the signal are softened, the less the more values a latent has, see ``Schedule.softening``.
    Where a sampler looks back at earlier outputs, late errors count more: ``g = (1 + k / 2) / 2``, and the signal
    counts as ``(1 - k) / 10`` of ``x`` at the least.

    Found by holding 371 plans of 29 cells of the testbed against the mean and the worst of 24 images each, and against
    plans that others searched on full-size models; see docs/tried.md.
    """

    limited_by = "target"
    power = 1.25

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.last_computed = 0  # call_index

    def planned_error(self, obs: Observation) -> float:
        return self.expected_error(obs.step, self.last_computed)

    def position(self, step: ModelCall) -> float:
        return step.schedule.log_snr(step.sigma, EDGE * step.schedule.softening)

    def pace(self, step: ModelCall) -> float:
        share, dsigma = step.schedule.noise_share, min(step.dsigma, step.clamped_weight)
        change = max(0.0, share(step.sigma) - share(step.sigma - max(0.0, dsigma)))
        signal = max(0.0, 1.0 - share(step.sigma)) + NEAR_NOISE * step.schedule.softening
        grown = min(1.0, max(0.0, 10 * self.computed_share(step) - 4))
        if step.sequence.is_multistep:
            signal, grown = max(signal, LEAST_SIGNAL * (1 - grown)), grown / 2
        return change**0.5 / signal ** ((1 + grown) / 2)

    def computed_share(self, step: ModelCall) -> float:
        """Of the calls, as the target says; half of them without one."""
        target = self.config.speed_target
        return target.share(step.schedule.steps, step.total) if target else 1 / 2

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.last_computed = obs.step.call_index


# Of a correction in a computed output: a call that weighs less than an eighth of it cannot carry it.
LARGEST_FACTOR = 8.0


@predictor("corrected_line")
class CorrectedLine(AuditedPredictor):
    """Forecast, with ``l`` for log-SNR: ``v = v_b + w g (v_b - v_a)``, ``g = (l - l_b) / (l_b - l_a)``.

    ``w`` is learnt by self-audit, see ``OutputLine``, but is 1 where the outputs have just turned back; the same audit
    says what a skip risks, see ``ErrorEstimator``.

    The corrector is what a multistep ODE solver does: when a call is computed, the outputs of the calls skipped before
    it are no longer a forecast but lie *between* computed ones.  The parabola through ``a``, ``b`` and the new output
    says what they should have been,

        ``v*(l) = v_b + (l - l_b) [b, c] + (l - l_b) (l - l_c) [a, b, c]``   (Newton's divided differences),

    and the sum of ``W (v* - v)`` over them, the correction, is what the sampler's result will be off by, ``W`` being
    what a call's output weighs in it: every sampler is linear in the outputs it gets, an Euler step weighs its dsigma.
    The computed output is returned with that sum over its own ``W`` added; with nothing skipped before it, it is
    returned as it is.  Where its own weight is too small for that, the correction waits for the next computed call;
    where weights are not known, nothing is corrected.

    A second correction is for the computed output itself.  The model saw ``x - c``, with ``c`` the correction that is
    still missing from ``x``.  Let its image ``p`` be off by ``-f c / a`` in return (``x = a p + s n``).  Then its
    direction ``(x - p) / s`` is off by ``-(1 - f / a) c / s``, which is added back, see ``input_gain``.  Under samplers
    whose weights add up to more than sigma fell over the skipped calls, part of ``c`` cancels later, and ``c`` counts
    in proportion.
    """

    noise_aware = False
    FIRST_SHRINKAGE = 0.8  # before the first audit, which needs three computed steps

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[OutputAnchor] = deque(maxlen=2)  # the newest last
        self.shrinkage: Tensor | None = None  # w, 0-d float32
        self.now: ModelCall | None = None  # the call being forecast, or just recorded
        self.applied_sum: Tensor | None = None  # sum of W v over the calls skipped since b, (C, ...) float32
        self.weighted_moments = (0.0, 0.0, 0.0)  # sums of W (l - l_b)^p over them, p = 0, 1, 2
        self.abs_weight_sum = 0.0  # sum of |W| over the calls that the correction is for
        self.dsigma_sum = 0.0  # how far they went, in sigma
        self.correction: Tensor | None = None  # not applied yet, (C, ...) float32
        self.input_gain = 0.0  # of the correction in the output recorded last, see ``input_gain``
        self.weights_known = True  # whether the weight of every call so far was known

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def latent_error(self, step: ModelCall) -> float:
        if not self.anchors:
            return 0.0
        audited = step.schedule.log_snr(step.next_call_sigma)  # where it will come out how far off forecasts were
        return self.error_estimator.latent_error_with(step, audited - self.anchors[-1].position)

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self._set_call(obs.step)
        return 1.0 + horizon_of(self.anchors, obs.step.log_snr)

    def forecast(self, out: Tensor) -> None:
        position, weight = self.now.log_snr, self.now.weight
        self.error_estimator.skip(self.now)
        self._follow_line(position, out)
        if not self.weights_known:
            return
        ahead = position - self.anchors[-1].position
        self.weighted_moments = tuple(m + weight * ahead**p for p, m in enumerate(self.weighted_moments))
        self.abs_weight_sum += abs(weight)
        self.dsigma_sum += self.now.dsigma
        if self.applied_sum is not None:
            self.applied_sum.add_(out, alpha=weight)
        elif self.correction is None:
            self.applied_sum = out.float() * weight
        else:  # a correction that still waits counts as not applied
            self.applied_sum, self.correction = torch.add(-self.correction, out, alpha=weight), None

    def record(self, obs: Observation, value: Tensor) -> None:
        self._set_call(obs.step)
        position = obs.step.log_snr
        change = self._last_difference()
        if not self.weights_known:
            self.correction = None
        elif self.applied_sum is not None:
            self.correction = self._corrected_sum(value.float(), position, change).sub_(self.applied_sum)
        self.input_gain = self._input_gain_at(obs.step)
        if self.input_gain:
            value.add_(self.correction, alpha=self.input_gain)
        sq_error = self._score_forecast(value, position, obs, change)
        if obs.denoised is not None:
            self.error_estimator.compute(
                value, obs.denoised, sq_error, position - self.anchors[-1].position if self.anchors else 0.0
            )
        self.applied_sum, self.weighted_moments = None, (0.0, 0.0, 0.0)
        if self.anchors and self.anchors[-1].position >= position:
            self.anchors.pop()  # the same moment again: two anchors there would have no slope between them
        self.anchors.append(OutputAnchor(value, position))

    def correct(self, out: Tensor) -> bool:
        if self.correction is None:
            return False
        weight = self.now.weight
        can_apply = weight != 0 and abs(weight) * LARGEST_FACTOR >= self.abs_weight_sum
        share = self.input_gain + (1 / weight if can_apply else 0.0)
        if share:
            out.add_(self.correction, alpha=share)
        if can_apply:
            self.correction, self.abs_weight_sum, self.dsigma_sum = None, 0.0, 0.0
        return share != 0

    @property
    def held(self) -> Sequence[Tensor]:
        sums = (self.applied_sum, self.correction)  # one of them at the most is there
        kept = [tensor for tensor in sums if tensor is not None]
        return [*kept, *(anchor.value for anchor in self.anchors)]

    def _input_gain_at(self, step: ModelCall) -> float:
        """Of the correction, what is put back into the output of ``step``; with a single anchor the correction is but a
        guess."""
        if self.correction is None or not self.abs_weight_sum or len(self.anchors) < 2:
            return 0.0
        return input_gain(step) * min(1.0, self.dsigma_sum / self.abs_weight_sum)

    def _set_call(self, step: ModelCall) -> None:
        self.now = step
        self.weights_known &= step.weight is not None

    def _last_difference(self) -> Tensor | None:
        """``v_b - v_a``, ``(C, ...)`` float32; ``None`` with fewer than two anchors."""
        if len(self.anchors) < 2:
            return None
        return self.anchors[-1].value.float() - self.anchors[0].value.float()

    def _follow_line(self, position: float, out: Tensor) -> None:
        """Write the line at ``position`` into ``out``."""
        newest = self.anchors[-1].value
        if len(self.anchors) < 2:
            out.copy_(newest)
        else:
            factor = self._slope_factor() * horizon_of(self.anchors, position)
            torch.add(newest, factor * self._last_difference(), out=out)

    def _slope_factor(self) -> Tensor | float:
        """The factor on the line: what would have been best at the last computed call.

        0 there means that the outputs have turned back.  That says nothing against the line through the two newest of
        them, which is then followed in full.  (The error estimate goes by the 0, so that it trusts such a line less.)
        """
        if self.shrinkage is None:
            return self.FIRST_SHRINKAGE
        return self.shrinkage.masked_fill(self.shrinkage == 0, 1.0)

    def _score_forecast(self, value: Tensor, position: float, obs: Observation, change: Tensor | None) -> Tensor | None:
        """How far off this call's forecast was, a sum of squares; and the factor that would have been best for it.

        ``clip(<p, d> / <p, p>, 0, 1)`` is the best one on a change ``p`` that was forecast where ``d`` came.
        """
        if not self.anchors:
            return None
        true = value.float() - self.anchors[-1].value.float()
        moved, horizon = true.square().sum(), horizon_of(self.anchors, position)
        if horizon <= 0:
            if self.error_estimator.image_weight:
                obs.displaced = self.error_estimator.displaced_by(true, obs.step)
            return moved
        forecast = horizon * change
        length, along = forecast.square().sum(), (forecast * true).sum()
        used = self.FIRST_SHRINKAGE if self.shrinkage is None else self.shrinkage
        self.shrinkage = best_factor(along, length)
        if self.error_estimator.image_weight:
            obs.displaced = self.error_estimator.displaced_by(true - used * forecast, obs.step)
        return (moved - 2 * used * along + used * used * length).clamp(min=0.0)

    def _corrected_sum(self, value: Tensor, position: float, change: Tensor | None) -> Tensor:
        """``sum W v*`` over the skipped calls, ``(C, ...)`` float32, by the weighted moments of their positions."""
        zeroth, first, second = self.weighted_moments
        newer, gap = self.anchors[-1].value.float(), position - self.anchors[-1].position
        if gap <= 0:  # the same moment again: nothing lies between
            return newer * zeroth
        slope = (value - newer) / gap
        total = newer * zeroth + slope * first
        if change is not None:
            behind = self.anchors[-1].position - self.anchors[0].position
            bend = (slope - change / behind) / (gap + behind)
            total = total + bend * (second - gap * first)
        return total


def input_gain(step: ModelCall) -> float:
    """What an output gains, per unit, by a correction that was missing from ``x``: ``(1 - f / a) / s``.

    ``f = (1 + s) / 2`` is how much of a small change of ``x`` the model takes for image, with ``s`` the noise's share:
    all of it where everything is noise, where it decides the scene, and half near the end.  An answer counts as ten
    times the change at the most.  An output that is the image itself is left as it is.
    """
    if step.schedule.predicts_denoised:
        return 0.0
    followed = (1.0 + step.schedule.noise_share(step.sigma)) / 2
    return (1.0 - followed / max(step.alpha, LEAST_SIGNAL)) / step.sigma


POLICIES = (
    NamedPolicy(
        "forecast",
        "forecast",
        Group.OWN,
        when=(
            "the schedule and the run so far say that little can go wrong; the method of the presets fidelity, "
            "balanced and fast"
        ),
        how="along a line through the model's outputs; the next computed step corrects the error",
        policy=Policy(ForecastRule.name, CorrectedLine.name),
    ),
    NamedPolicy(
        "forecast_even",
        "forecast at an interval",
        Group.OWN,
        when="every n-th step is computed",
        how="along a line through the model's outputs; the next computed step corrects the error",
        policy=Policy(FixedInterval.name, CorrectedLine.name, interval=2, warmup_steps=2),
    ),
)
