"""All that a run keeps between its calls: a history for each sample of each stream, and what these decide together."""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable, Iterator, Sequence
from functools import partial

import torch

from ..image_error import ImageErrorEstimator
from ..methods.base import AuditedPredictor
from ..reasons import Reason
from ..run_statistics import SampleKey
from ..schedule import ModelCall
from .decision import Decision
from .run_environment import RunEnvironment
from .sample_history import SampleHistory
from .stream_group import StreamGroup


class Histories:
    """The histories of one run, by sample.

    Hosts that split conds over devices call from several threads: every method may be called from any of them.

    Attributes:
        deciding: held while a pass decides, so that the first one decides for the streams of the others.
        abandoned: what is decided from the time on at which the run goes on without a cache; ``None`` before.
        image_error_estimator: learns how far the images are off; ``None`` where the predictor estimates no errors.
    """

    def __init__(self, run: RunEnvironment) -> None:
        self.deciding = threading.Lock()  # taken before the other one
        self.abandoned: Decision | None = None
        self.image_error_estimator = ImageErrorEstimator() if issubclass(run.predictor, AuditedPredictor) else None
        self._run = run
        self._lock = threading.Lock()
        self._by_key: dict[SampleKey, SampleHistory] = {}
        self._groups: dict[Hashable, StreamGroup] = {}  # by decision key, see ``_decision_key``
        self._latent_errors: dict[int, tuple[Hashable, float]] = {}  # of the newest call, per row

    @property
    def never_reuses(self) -> bool:
        return self._run.config.threshold == 0 or self.abandoned is not None

    def enter(self, keys: Sequence[SampleKey], step: ModelCall) -> list[SampleHistory]:
        """A pass of these samples begins: their histories, new ones where none goes on at ``step``."""
        with self._lock:
            self._forget_streams_left_behind(step)
            for key in keys:
                self._group(key).enter(key, step, partial(self._going_on, self._decision_key(key), step))
            return [self._history(key, step) for key in keys]

    def replace(self, key: SampleKey, history: SampleHistory) -> SampleHistory:
        """Put ``history`` in place of the one under ``key``."""
        with self._lock:
            self._group(key).leave(self._by_key.get(key))
            self._let_go(key)
            self._by_key[key] = history
        return history

    def forget(self, keys: Sequence[SampleKey]) -> None:
        """Drop what is kept of these samples."""
        with self._lock:
            for key in keys:
                self._group(key).leave(self._by_key.pop(key, None))

    def group(self, key: SampleKey) -> StreamGroup:
        """Where this sample's stream decides together with the others of its group."""
        with self._lock:
            return self._group(key)

    def group_predictors(self, key: SampleKey) -> list[AuditedPredictor]:
        """What forecasts the streams that answer for a skip of this sample together, as far as it estimates errors."""
        with self._lock:
            histories = [history for other, history in self._by_key.items() if other.row == key.row]
        return [history.predictor for history in histories if isinstance(history.predictor, AuditedPredictor)]

    def latent_error(self, key: SampleKey, step: ModelCall) -> float | None:
        """The latent error of skipping ``step``, the largest of all streams that answer for it; ``None`` if unknown.

        Whichever of them comes first at a call asks for all, so that it makes no difference which passes they share.
        """
        predictors, call = self.group_predictors(key), (step.sigma, step.call_index)
        if not predictors:
            return None
        with self._lock:
            asked, latent_error = self._latent_errors.get(key.row, (None, 0.0))
            if asked != call:
                found = [predictor.latent_error(step) for predictor in predictors]
                latent_error = math.nan if any(map(math.isnan, found)) else max(found)  # max() passes over NaN
                self._latent_errors[key.row] = call, latent_error
        return latent_error

    def with_unread_jumps(self, device: torch.device) -> list[SampleHistory]:
        """Histories on ``device`` whose ``input_jump`` waits for somebody to bring it to the host.

        None where ranks decide together, as each would read but its own.
        """
        if self._run.reduce is not None:
            return []
        with self._lock:
            return [h for h in self._by_key.values() if h.input_jump is not None and h.input_jump.device == device]

    def abandon(self, reason: Reason) -> None:
        """Drop all and compute from now on: there is no memory for a cache, or no stack to put one around."""
        with self._lock:
            self.abandoned = Decision(reuse=False, reason=reason)
            self._by_key.clear()
            self._groups.clear()
        if self.image_error_estimator is not None:
            self.image_error_estimator.lose()

    def finalize(self) -> None:
        """The run is over: what no computed call will audit any more."""
        for key in self._by_key:
            self._let_go(key)

    def held_bytes(self) -> int:
        """Bytes of all tensors kept between calls."""
        with self._lock:
            return sum(h.held_bytes for h in self._by_key.values())

    def __iter__(self) -> Iterator[SampleHistory]:
        return iter(self._by_key.values())

    def _decision_key(self, key: SampleKey) -> Hashable:
        """What streams that decide together have in common."""
        return key if key.group is None or self._run.indicator.decides_alone else (key.row, key.group, key.segment)

    def _group(self, key: SampleKey) -> StreamGroup:
        decision_key = self._decision_key(key)
        if decision_key not in self._groups:
            self._groups[decision_key] = StreamGroup(self._run.config)
        return self._groups[decision_key]

    def _going_on(self, decision_key: Hashable, step: ModelCall) -> list[SampleHistory]:
        """Histories of the streams at ``decision_key`` that were there at the call before ``step``, the oldest
        first."""
        there = [history for key, history in self._by_key.items() if self._decision_key(key) == decision_key]
        return [history for history in there if history.last is not None and history.continues(step)]

    def _history(self, key: SampleKey, step: ModelCall) -> SampleHistory:
        history = self._by_key.get(key)
        if history is None or not history.continues(step):
            self._let_go(key)
            history = SampleHistory(self._run.config, self._run.storage, grouped=self._decision_key(key) != key)
            self._by_key[key] = history
        return history

    def _let_go(self, key: SampleKey) -> None:
        """The history under ``key``, if there is one, ends here: skips that nothing audits are told by a guess."""
        predictor = self._by_key[key].predictor if key in self._by_key else None
        if self.image_error_estimator is None or not isinstance(predictor, AuditedPredictor):
            return
        squares = predictor.error_estimator.unaudited()
        if squares is not None:
            self.image_error_estimator.add_unaudited(key.row, squares, predictor.held[-1].numel())

    def _is_left_behind(self, last: ModelCall, step: ModelCall) -> bool:
        """Whether a stream that was seen at ``last`` is gone; a sampler's first sequence may be steps ahead of its
        last."""
        if last.sequence == step.sequence:
            return step.calls_since(last) > 1
        return step.step_index - last.step_index > 2 * len(self._run.schedule.sequences)

    def _forget_streams_left_behind(self, step: ModelCall) -> None:
        """Memory must not grow with streams that never come back, such as moving context windows."""
        gone = [k for k, s in self._by_key.items() if s.last is not None and self._is_left_behind(s.last, step)]
        for key in gone:
            self._let_go(key)
            del self._by_key[key]
        if gone:
            left = {self._decision_key(key) for key in self._by_key}
            self._groups = {decision_key: group for decision_key, group in self._groups.items() if decision_key in left}
