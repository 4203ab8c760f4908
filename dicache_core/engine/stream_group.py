"""One decision per call for all streams of an image, whichever comes first and however a host batches them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

from ..config import CacheConfig
from ..methods.base import PacedIndicator
from ..methods.indicators import indicator_class
from ..observation import Observation
from ..reasons import Reason
from ..schedule import ModelCall
from .decision import Decision
from .gates import Gate, SteeredGate
from .paced_gate import PacedGate
from .plan_gate import PlanGate
from .sample_history import SampleHistory


class StreamGroup:
    """The streams that make one image together: at a call all of them are skipped, or none.

    Guidance shows their difference enlarged, and with it the error of a forecast in one that the computed other does
    not have.  Hosts hand the streams over in one pass, in several, or in threads on several devices.  The first to come
    at a call decides for all, by what is known in each of these cases:

    - for a rule that measures, by the largest error that is to be expected of a stream, ``max_i(e_i' / m_i') m``.
      ``m`` is how far the model's input moved since the call before, the same for all streams; ``e'`` and ``m'`` are
      the error and the movement that were measured at the call before;
    - for a rule that knows its errors from the schedule, by the error of the oldest stream, so that one that comes
      later takes over its plan.

    A stream that is alone decides by its present error.  One that has nothing to forecast from yet is computed,
    whatever the others do.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.decision: Decision | None = None  # of the present call, once it was asked for
        self.consecutive = 0  # calls skipped up to now without a computed one between
        self._step: ModelCall | None = None  # the present call
        self._came: set[Hashable] = set()  # who was there at it
        self._members: Sequence[SampleHistory] = ()  # who goes on from the call before
        self._begin_again()

    @property
    def shared(self) -> bool:
        """Whether several streams go on from the call before."""
        return len(self._members) > 1

    def enter(self, key: Hashable, step: ModelCall, going_on: Callable[[], Sequence[SampleHistory]]) -> None:
        """The stream ``key`` comes at ``step``; ``going_on`` finds the histories that go on there."""
        if key in self._came or not self._is_at(step):
            self._close()
            self._step, self._came, self.decision = step, set(), None
            self._members = going_on()
            if not self._members:
                self._begin_again()
        self._came.add(key)

    def leave(self, history: SampleHistory) -> None:
        """``history`` starts again from nothing; nothing of a plan is left where it was the only one."""
        self._members = [member for member in self._members if member is not history]
        if not self._members:
            self._begin_again()

    def decide(
        self, obs: Observation, error: float | None, moved: float, latent_error: Callable[[], float | None]
    ) -> Decision:
        """The decision of this call.

        ``error`` is what the pass that asks shows, ``None`` of a rule that looks at nothing; ``moved`` is how far its
        input moved, see ``InputTracker``; ``latent_error`` asks for that of a skip.
        """
        if self.decision is None:
            self.decision = self._decided(obs, self._error(obs, error, moved), latent_error)
        return self.decision

    def agree(self, decision: Decision) -> Decision:
        """Take over what follows from the decision on another segment."""
        self.decision = decision
        return decision

    def _decided(self, obs: Observation, error: float, latent_error: Callable[[], float | None]) -> Decision:
        """A latent error that is no number is a veto, too."""
        accepted = self._gate.add_and_check(error, obs.step)
        decision = Decision(accepted, Reason.REUSED if accepted else Reason.ERROR, error, self._gate.accumulated)
        if not accepted:
            return decision
        found = latent_error()
        if found is not None and not found <= self.config.allowed_latent_error(obs.step.total):
            if self._members[0].predictor.error_estimator.audited:
                self._gate.on_veto(obs.step)
            return replace(decision, reuse=False, reason=Reason.VETO, latent_error=found)
        return replace(decision, latent_error=found)

    def _error(self, obs: Observation, own_error: float | None, moved: float) -> float:
        if own_error is None:
            first, *_ = [member.indicator.planned_error(obs) for member in self._members]  # all go on with their count
            return first
        if not self.shared:
            return own_error
        expected = (member.expected(obs.step) for member in self._members)
        return max((error for error in expected if error is not None), default=math.inf) * moved

    def _is_at(self, step: ModelCall) -> bool:
        return self._step is not None and (self._step.sigma, self._step.call_index) == (step.sigma, step.call_index)

    def _close(self) -> None:
        """Close the call before: now it is known whether any stream was skipped at it."""
        if self.decision is not None and self.decision.reuse:
            self.consecutive += 1
        elif self._step is not None:
            self.consecutive = 0
            self._gate.on_computed(self._step)

    def _begin_again(self) -> None:
        indicator = indicator_class(self.config.indicator)(self.config)
        steered = self.config.target and not indicator.meets_target
        if self.config.plan:
            self._gate: Gate = PlanGate(self.config)
        elif steered and isinstance(indicator, PacedIndicator):
            self._gate = PacedGate(self.config, indicator)
        elif steered:
            self._gate = SteeredGate(self.config, indicator)
        else:
            self._gate = Gate(indicator.limit(self.config), indicator.accumulates)
        self.consecutive = 0
