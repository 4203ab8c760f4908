"""What a run keeps of one sample in one stream: an indicator, a predictor, and what they saw last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..config import CacheConfig
from ..methods.base import AuditedPredictor, MeasuredIndicator, PlannedIndicator
from ..methods.indicators import indicator_class
from ..methods.predictors import predictor_class
from ..observation import Observation
from ..reasons import Reason
from ..schedule import SIGMA_TOLERANCE, ModelCall
from .decision import Decision
from .input_tracker import InputTracker
from .storage import Storage

Sums = tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]  # indicator's, predictor's, input's; 0-d float32
Layout = tuple[torch.Size, torch.dtype, torch.device]


def layout_of(row: Tensor) -> Layout:
    """What tensors must have in common to be compared."""
    return (row.shape, row.dtype, row.device)


class SampleHistory:
    """One sample's history. It lives in one sampling run; a reset is a new object."""

    def __init__(self, config: CacheConfig, storage: Storage | None = None, *, grouped: bool = False) -> None:
        self.config = config
        self.indicator = indicator_class(config.indicator)(config)
        self.predictor = predictor_class(config.predictor)(config)
        self.predictor.storage = storage or Storage()
        self.last: ModelCall | None = None
        self.layouts: dict[str, Layout] = {}
        self.held_bytes = 0
        # Above 0 where the stream has become another image; 0-d, and nobody read it yet.
        self.input_jump: Tensor | None = None
        self.image_changed = False  # it was read, and is: such a stream is computed to the run's end
        self.input = InputTracker()
        self._grouped = grouped
        self._response: float | None = None  # the error measured last over what was expected of it, see ``expected``
        self._last_computed = -1  # call_index

    @property
    def held(self) -> list[Tensor]:
        """Tensors kept between steps."""
        return [*self.input.held, *self.indicator.held, *self.predictor.held]

    @property
    def _compares(self) -> bool:
        """Whether decisions need to know how far the model's input moved, see ``StreamGroup``."""
        return self._grouped and isinstance(self.indicator, MeasuredIndicator)

    def continues(self, step: ModelCall) -> bool:
        """Whether ``step`` follows on from what this history last saw: no step left out and sigma not rising.

        What is kept is numbered by its sequence's calls, so that in another sequence it means nothing.
        """
        if self.last is None:
            return True
        if step.sequence != self.last.sequence or step.planned != self.last.planned:
            return False
        if step.planned:
            return 0 <= step.calls_since(self.last) <= 1
        rising = step.sigma > self.last.sigma * (1 + SIGMA_TOLERANCE)
        return not rising and 0 <= step.calls_since(self.last) <= 1

    def fits(self, kind: str, row: Tensor) -> bool:
        """Whether the history was made with rows of this shape, dtype and device.

        ``kind`` is "latent" for the model's input ``(C, ...)``, "hidden" for the stack's ``(T, D)``, "deep" for a
        U-Net's deep feature ``(C, H, W)``.  None follows from another: latents of different sizes, padded to whole
        patches, can have the same number of tokens.
        """
        return self.layouts.setdefault(kind, layout_of(row)) == layout_of(row)

    def renewed(self, kind: str, row: Tensor) -> SampleHistory:
        """A history from nothing, for rows of another layout from here on."""
        other = SampleHistory(self.config, self.predictor.storage, grouped=self._grouped)
        other.layouts = {**self.layouts, kind: layout_of(row)}
        if kind != "latent":
            other.input = self.input  # the input goes on
        return other

    def see(self, latent: Tensor, max_distance: Tensor | None) -> None:
        """Look at the model's input ``(C, ...)``, which may be ``max_distance`` (rms, 0-d) from the call before's.

        ``max_distance`` is ``None`` where it is not known.  Nothing is kept of an input that nobody will ask for.
        Queues work on the device only: ``input_jump`` is read with what else is brought to the host.
        """
        if max_distance is None and not self._compares:
            return
        self.input.see(latent)
        found = None if max_distance is None else self.input.jumped(max_distance)
        if found is not None:
            self.input_jump = found if self.input_jump is None else torch.maximum(self.input_jump, found)

    def read_input_jump(self, value: float) -> None:
        """Take what ``input_jump`` is; of another image nothing is kept."""
        self.input_jump = None
        if value > 0 and not self.image_changed:
            storage = self.predictor.storage
            self.image_changed, self.predictor = True, predictor_class(self.config.predictor)(self.config)
            self.predictor.storage = storage

    def forced_decision(self, obs: Observation, consecutive: int) -> Decision | None:
        """The decision where it needs no measurement; ``None`` where it is open.

        It is to compute, or to reuse where the rule has one segment follow another.  ``consecutive`` calls were skipped
        up to now.
        """
        step = obs.step
        reason = self._block_reason(step)
        if reason is None and self.image_changed:
            reason = Reason.IMAGE_CHANGED
        if reason is None and not self.predictor.ready:
            planned = self._planned_error(obs)
            if planned >= self.indicator.limit(self.config):  # computed by plan: nobody misses what is not kept
                return Decision(reuse=False, reason=Reason.ERROR, error=planned, accumulated=planned)
            reason = Reason.NO_ANCHOR
        if reason is None and not self.predictor.noise_aware and step.noise_is_new:
            reason = Reason.NEW_NOISE
        if reason is None and (step.noise_is_new or not step.schedule.sampler_known) and not self._audited:
            reason = Reason.NO_AUDIT
        if reason is None and 0 < self.config.max_consecutive <= consecutive:
            reason = Reason.RUN_LIMIT
        if reason is None:
            return Decision(reuse=True, reason=Reason.REUSED) if self.indicator.follows and obs.led else None
        return Decision(reuse=False, reason=reason)

    def will_be_used(self, obs: Observation) -> bool:
        """Whether the call after this one may be rebuilt from it, which a planned rule knows for sure."""
        ahead = obs.step.call_index + 1
        if not obs.step.planned or ahead >= len(obs.step.sequence.sigmas):
            return False
        step = obs.step.at(ahead)
        if self._block_reason(step) is not None:
            return False
        return self._planned_error(replace(obs, step=step)) < self.indicator.limit(self.config)

    def _planned_error(self, obs: Observation) -> float:
        """Of a rule that plans parts of the stack, which judges every error alone; 0 of others, who cannot know it."""
        rule = self.indicator
        return rule.planned_error(obs) if obs.segment is not None and isinstance(rule, PlannedIndicator) else 0.0

    def _block_reason(self, step: ModelCall) -> Reason | None:
        return self.config.block_reason(step, last=self.indicator.computes_last)

    @property
    def _audited(self) -> bool:
        """Whether forecasts have been held against what came; predictors without an error estimate never are."""
        return not isinstance(self.predictor, AuditedPredictor) or self.predictor.error_estimator.audited

    def measure(self, obs: Observation, decision: Decision | None, shared: bool) -> Sums:
        """The sums that the indicator and the predictor ask for, and those of how far the input moved.

        Where the ``decision`` is known nothing has to be measured, with one exception: streams that decide together
        (``shared``) go by the errors of the call before, so the call before the first open one is measured, too.
        """
        if decision is None or (shared and self._compares and self.config.opens_after(obs.step)):
            ahead = [] if decision else self.predictor.measure(obs)
            sums = self.indicator.measure(obs) if isinstance(self.indicator, MeasuredIndicator) else []
            return sums, ahead, self.input.measure() if self._compares else []
        return (), (), ()

    def expected(self, step: ModelCall) -> float | None:
        """The error at ``step`` per unit of how far the input moves there; ``None`` where none was measured yet.

        It goes on as it was when it was measured last, ``e' / m'``, in proportion to what the indicator foresees.
        """
        if self._response is None:
            return None
        return self._response * self.indicator.expected_error(step, self._last_computed)

    def follow(
        self, obs: Observation, decision: Decision, for_indicator: Sequence[float], for_predictor: Sequence[float]
    ) -> Decision:
        """``decision``, which was taken for this sample too, with what is its own."""
        gamma = self.predictor.plan(obs, for_predictor) if decision.reuse else None
        return replace(decision, measured=tuple(for_indicator), gamma=gamma)

    def commit(self, obs: Observation, decision: Decision, error: float | None, moved: float) -> None:
        """Take the decision down, before the rest of the pass runs; ``error`` and ``moved`` as measured."""
        if error is not None:
            expected = moved * self.indicator.expected_error(obs.step, self._last_computed)
            if 0 < expected < math.inf:
                self._response = error / expected
        self.input.commit()
        self.indicator.follow(obs)
        self.last = obs.step
        if not decision.reuse:
            self._last_computed = obs.step.call_index
        self._update_held_bytes()

    def record(self, obs: Observation, value: Tensor) -> None:
        """Learn from a computed step's residual or output; ``value`` belongs to this history from now on."""
        if self.image_changed:
            return
        self.indicator.learn(obs, value)
        self.predictor.record(obs, value)
        self._update_held_bytes()

    def _update_held_bytes(self) -> None:
        """Work out ``held_bytes`` here, where nobody else changes what is held: hosts with several devices ask for the
        sum of all histories while other threads go on with theirs."""
        memory = [t.untyped_storage() for t in self.held]
        self.held_bytes = sum({m.data_ptr(): m.nbytes() for m in memory}.values())
