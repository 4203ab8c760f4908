"""The contract between cache and model: ``enter``, ``probe``, then ``complete`` or ``estimate`` (and the same in
output space: ``observe`` or ``forecast``).

The cache never sees a model and the model's side never decides anything.  One session serves one sampling run, one
``ForwardPass`` one call of the model; the unit of every decision is the sample.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from .config import CacheConfig
from .forward_pass import ForwardPass
from .indicators import Stage, indicator_class
from .measure import Reducer, fetch, probe_token_count, probe_token_index
from .predictors import Predictor, Space, predictor_class
from .sample import UNDECIDED, Decision, SampleCache
from .schedule import Schedule, Step
from .statistics import PassRecord, RunStatistics, SampleKey
from .storage import OUT_OF_MEMORY, CacheOutOfMemoryError, Storage
from .timing import Stopwatch


def stage_of(config: CacheConfig) -> Stage:
    """How far a pass has to run before these rules can decide."""
    aligned = predictor_class(config.predictor).probes > 0  # the predictor needs the probe, whoever decides
    return Stage.PROBE if aligned else indicator_class(config.indicator).stage


def needs_stack(config: CacheConfig) -> bool:
    """Whether these rules look at a model's blocks: others work with any model."""
    in_output = stage_of(config) is Stage.INPUT and predictor_class(config.predictor).space is Space.OUTPUT
    return config.threshold > 0 and not in_output


class CacheSession:
    """All histories of one sampling run, one per sample and stream.

    Every call raises ``CacheOutOfMemoryError`` where the cache's own allocations fail, and ``require_whole``
    ``StackLeftEarlyError``; ``abandon`` then lets the run go on without a cache.
    """

    def __init__(self, config: CacheConfig, schedule: Schedule, reduce: Reducer | None = None) -> None:
        self.config = config
        self.schedule = schedule
        self.reduce = reduce
        self.stage = stage_of(config)
        self.wants_modulated = indicator_class(config.indicator).wants_modulated
        self.space = predictor_class(config.predictor).space
        self.statistics = RunStatistics(schedule, config)
        self.storage = Storage(in_main_memory=config.cache_device == "cpu", bits=config.residual_bits)
        self.abandoned: Decision | None = None  # what is decided from then on
        self._histories: dict[SampleKey, SampleCache] = {}
        self._stream_numbers: dict[Hashable, int] = {}
        self._strains: dict[Hashable, tuple[Hashable, float]] = {}  # of the newest call, per row and group
        self._token_index: dict[tuple[int, torch.device], Tensor | None] = {}
        self._lock = threading.Lock()  # hosts that split conds over devices call from several threads

    @property
    def probe_depth(self) -> int:
        """Blocks that have to run before a decision: none for indicators that look at the input only."""
        return self.config.probe_depth if self.stage is Stage.PROBE else 0

    @property
    def never_reuses(self) -> bool:
        return self.config.threshold == 0 or self.abandoned is not None

    @property
    def needs_no_stack(self) -> bool:
        """Whether nothing has to be seen of the blocks: the model's input and output say it all, or none is reused."""
        return self.never_reuses or not needs_stack(self.config)

    @property
    def forecasts_output(self) -> bool:
        """Whether skipped calls are forecast as the model's output, not as the residual of its stack."""
        return self.space is Space.OUTPUT

    @property
    def builds_on_latent(self) -> bool:
        """Whether a forecast is made from the model's present input."""
        return predictor_class(self.config.predictor).wants_latent

    @property
    def wants_leaders(self) -> bool:
        """Whether unconditional rows are forecast from the conditional ones of their pass."""
        return predictor_class(self.config.predictor).wants_leader

    def forward(
        self,
        keys: Sequence[SampleKey],
        step: Step,
        latents: Tensor | None = None,
        leaders: Mapping[int, int] | None = None,
    ) -> ForwardPass:
        """Begin a forward pass of ``len(keys)`` samples; a key names the stream and the sample's row in it.

        ``latents`` ``(N, C, ...)`` is the model's input, needed only by indicators that look at it.  ``leaders`` says
        of unconditional rows which row of this pass is the conditional one.
        """
        with self._lock:
            self._forget_streams_left_behind(step)
            samples = [self._history(key, step) for key in keys]
        return ForwardPass(self, list(keys), samples, step, latents, leaders or {})

    def settle(self) -> None:
        """Reckon at the run's end how far its pictures may be off; one sync per stream."""
        with self._lock:
            accounts = {key: h.predictor.account for key, h in self._histories.items() if h.predictor.account}
            risks = self.statistics.risks
            for key, account in accounts.items():  # one by one, as a split leaves them on several devices
                if (risk := account.settle(fetch(account.measure(), self.reduce))) is not None:
                    risks[key.row] = max(risk, risks.get(key.row, 0.0))

    def mates(self, key: SampleKey) -> list[Predictor]:
        """What forecasts the streams that answer for a skip of this sample together, as far as it keeps an account."""
        with self._lock:
            group = [h for other, h in self._histories.items() if (other.row, other.group) == (key.row, key.group)]
        return [history.predictor for history in group if history.predictor.accounts]

    def strain(self, key: SampleKey, step: Step) -> float | None:
        """The strain of skipping ``step``, the largest of all streams that answer for it; ``None`` where nobody knows.

        Whichever of them comes first at a call asks for all, so that it makes no difference which passes they share.
        """
        mates, group, call = self.mates(key), (key.row, key.group), (step.sigma, step.call)
        if not mates:
            return None
        with self._lock:
            asked, strain = self._strains.get(group, (None, 0.0))
            if asked != call:
                strain = max(predictor.strain(step) for predictor in mates)
                self._strains[group] = call, strain
        return strain

    def close(self, passed: ForwardPass, stopwatch: Stopwatch) -> None:
        """Enter a finished forward pass in the run's statistics."""
        stopwatch.stop()
        with self._lock:
            keys = tuple(self._numbered(key) for key in passed.keys)
            decisions = tuple(passed.decisions) or (UNDECIDED,) * len(keys)
            self.statistics.record(PassRecord(passed.step, keys, decisions, stopwatch))
            self.statistics.held_bytes = max(self.statistics.held_bytes, self.held_bytes())

    def abandon(self, reason: str = CacheOutOfMemoryError.reason) -> None:
        """Drop every history and compute from now on: there is no memory for a cache, or no stack to put one around."""
        with self._lock:
            self.abandoned = Decision(reuse=False, reason=reason)
            self._histories.clear()

    @contextmanager
    def own_memory(self) -> Iterator[None]:
        """Marks work whose allocations are the cache's own, so that running out of memory costs only the cache."""
        try:
            yield
        except OUT_OF_MEMORY as error:
            raise CacheOutOfMemoryError(str(error)) from error

    def replace(self, key: SampleKey, history: SampleCache) -> SampleCache:
        """Put ``history`` in place of the one under ``key``."""
        with self._lock:
            self._histories[key] = history
        return history

    def token_index(self, tokens: int, device: torch.device) -> Tensor | None:
        """``(K,)`` positions of the probe tokens among ``tokens``; ``None`` for all."""
        place = (tokens, device)
        if place not in self._token_index:
            count = probe_token_count(tokens, self.config.probe_tokens)
            self._token_index[place] = probe_token_index(tokens, count, device)
        return self._token_index[place]

    def held_bytes(self) -> int:
        """Bytes of all tensors kept between steps."""
        return sum(sample.held_bytes for sample in self._histories.values())

    def _history(self, key: SampleKey, step: Step) -> SampleCache:
        history = self._histories.get(key)
        if history is None or not history.continues(step):
            history = self._histories[key] = SampleCache(self.config, self.storage)
        return history

    def _numbered(self, key: SampleKey) -> SampleKey:
        """The key with a number for its stream: statistics outlive the run, what a stream names must not."""
        return key._replace(stream=self._stream_numbers.setdefault(key.stream, len(self._stream_numbers)))

    def _is_behind(self, last: Step, step: Step) -> bool:
        """Whether a stream that was seen at ``last`` is gone; a sampler's first lane may be steps ahead of its last."""
        if last.lane == step.lane:
            return step.calls_since(last) > 1
        return step.index - last.index > 2 * len(self.schedule.lanes)

    def _forget_streams_left_behind(self, step: Step) -> None:
        """Memory must not grow with streams that never come back, such as moving context windows."""
        gone = [k for k, s in self._histories.items() if s.last is not None and self._is_behind(s.last, step)]
        for key in gone:
            del self._histories[key]
