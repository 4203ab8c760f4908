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

from .account import Account
from .config import CacheConfig
from .indicators import Stage, indicator_class
from .measure import Reducer, fetch, probe_token_count, probe_token_index
from .observation import Observation
from .predictors import Space, predictor_class
from .sample import UNDECIDED, Decision, SampleCache
from .schedule import Schedule, Step
from .statistics import PassRecord, RunStatistics, SampleKey
from .storage import OUT_OF_MEMORY, CacheError, CacheOutOfMemoryError, Storage
from .timing import Stopwatch


class StackLeftEarlyError(CacheError):
    """A pass was to be rebuilt behind the last block, which never came: its output is worth nothing."""

    found = "the model's forward leaves its stack of blocks before the last one, where skipped steps are rebuilt"
    reason = "stack left early"


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
        self._risks: dict[Hashable, tuple[Hashable, float]] = {}  # of the newest call, per row and group
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
        """Reckon at the run's end how far its pictures may be off; one device sync."""
        with self._lock:
            accounts = [h.predictor.account for h in self._histories.values() if h.predictor.account]
            asked = [account.measure() for account in accounts]
            values = iter(fetch([tensor for sums in asked for tensor in sums], self.reduce))
            for account, sums in zip(accounts, asked, strict=True):
                if (risk := account.settle([next(values) for _ in sums])) is not None:
                    self.statistics.risk = max(risk, self.statistics.risk or 0.0)

    def together(self, key: SampleKey) -> list[Account]:
        """The accounts of all streams that answer for a skip of this sample."""
        with self._lock:
            mates = [h for other, h in self._histories.items() if (other.row, other.group) == (key.row, key.group)]
        return [history.predictor.account for history in mates if history.predictor.accounts]

    def risk(self, key: SampleKey, step: Step) -> float:
        """What skipping ``step`` risks, the largest of all streams that answer for it.

        Whichever of them comes first at a call asks for all, so that it makes no difference which passes they share.
        """
        with self._lock:
            asked, risk = self._risks.get((key.row, key.group), (None, 0.0))
            if asked != (step.sigma, step.call):
                mates = [h for other, h in self._histories.items() if (other.row, other.group) == (key.row, key.group)]
                risk = max(history.predictor.risk(step) for history in mates)
                self._risks[key.row, key.group] = (step.sigma, step.call), risk
        return risk

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

    def _forget_streams_left_behind(self, step: Step) -> None:
        """Memory must not grow with streams that never come back, such as moving context windows."""
        ahead = 2 * len(self.schedule.lanes) - 1  # a sampler's first lane may be ahead of its last by so many calls
        gone = [k for k, s in self._histories.items() if s.last is not None and step.calls_since(s.last) > ahead]
        for key in gone:
            del self._histories[key]


class ForwardPass:
    """One call of the model over ``N`` samples, each with its own history and its own decision."""

    def __init__(
        self,
        session: CacheSession,
        keys: list[SampleKey],
        samples: list[SampleCache],
        step: Step,
        latents: Tensor | None,
        leaders: Mapping[int, int],
    ) -> None:
        self.session = session
        self.keys = keys
        self.samples = samples
        self.step = step
        rows = [None] * len(keys) if latents is None else list(latents)
        self.leaders = leaders
        leading = set(leaders.values())
        self.seen = [Observation(step, row, follows=i in leaders, leads=i in leading) for i, row in enumerate(rows)]
        self.decisions: list[Decision] = []
        self.changed = [False] * len(keys)  # per sample, whether its output is not the model's own
        self._keeps_whole = False
        self._inputs: list[Tensor] = []  # own copies of h0, (T, D) each: blocks may change their input in place
        if latents is not None:
            self.renew_misfits("latent", latents)

    @property
    def reuse(self) -> tuple[bool, ...]:
        """Per sample, whether it is reused; empty before the decision."""
        return tuple(d.reuse for d in self.decisions)

    @property
    def all_reused(self) -> bool:
        return bool(self.decisions) and all(self.reuse)

    @property
    def entered(self) -> bool:
        """Whether the pass came to the first block."""
        return self.seen[0].h0 is not None

    def enter(self, h0: Tensor, modulated: Tensor | None = None, *, keeps_whole: bool = False) -> None:
        """See the hidden state ``(N, T, D)`` that enters the stack, image tokens only, and copy what is needed.

        With ``keeps_whole`` the cache keeps ``hM`` itself in place of the residual ``hM - h0``: where channels change
        on the way there is none.
        """
        self.renew_misfits("hidden", h0)
        self._keeps_whole = keeps_whole
        with self.session.own_memory():
            if self.session.space is Space.RESIDUAL and not keeps_whole:
                self._inputs = [row.clone() for row in h0]
            for seen, row in zip(self.seen, self._probe_tokens(h0, self._inputs), strict=True):
                seen.h0 = row
            if modulated is not None:
                for seen, row in zip(self.seen, self._probe_tokens(modulated), strict=True):
                    seen.modulated = row

    def probe(self, hm: Tensor) -> tuple[bool, ...]:
        """See the hidden state ``(N, T, D)`` after the probe's blocks and decide, per sample, whether to reuse."""
        with self.session.own_memory():
            for seen, row in zip(self.seen, self._probe_tokens(hm), strict=True):
                seen.hm = row
        return self.decide()

    def decide(self) -> tuple[bool, ...]:
        """Decide with what has been seen so far; costs one device sync, or none where every decision is known."""
        known = [self.session.abandoned or sample.known(self.step) for sample in self.samples]
        jury = [[] if k else self.session.together(key) for k, key in zip(known, self.keys, strict=True)]
        accounts = list({id(other): other for together in jury for other in together}.values())
        with self.session.own_memory():
            owed = [account.measure() for account in accounts]
            sums = [((), ()) if k else s.measure(o) for k, s, o in zip(known, self.samples, self.seen, strict=True)]
            asked = [*owed, *(group for pair in sums for group in pair)]
            values = iter(fetch([tensor for group in asked for tensor in group], self.session.reduce))
        for account, group in zip(accounts, owed, strict=True):
            account.settle([next(values) for _ in group])
        risks = [
            self.session.risk(key, self.step) if together else None
            for key, together in zip(self.keys, jury, strict=True)
        ]
        for i, (sample, seen, sure, (first, second)) in enumerate(
            zip(self.samples, self.seen, known, sums, strict=True)
        ):
            ours = [next(values) for _ in first], [next(values) for _ in second]
            decision = sure or sample.judge(seen, *ours, risks[i])
            sample.settle(seen, decision)
            self.decisions.append(decision)
        return self.reuse

    def complete(self, hM: Tensor) -> None:
        """See the hidden state ``(N, T, D)`` after the last block; rows of reused samples are overwritten."""
        if self.session.space is not Space.RESIDUAL or not self.decisions:
            return
        with self.session.own_memory():
            for i, row in enumerate(hM):
                if self.decisions[i].reuse:
                    self._rebuild(i, row)
                elif self._keeps_whole:
                    self.samples[i].record(self.seen[i], row.clone())
                else:
                    entered = self._inputs[i]
                    free = None if entered is self.seen[i].h0 else entered  # memory that nobody reads any more
                    residual = torch.sub(row, entered, out=free)
                    self.samples[i].record(self.seen[i], residual)
        self._inputs = []

    def require_whole(self) -> None:
        """Raise ``StackLeftEarlyError`` behind a forward that did not come to where its skipped rows are rebuilt."""
        if self._inputs and any(self.reuse):
            raise StackLeftEarlyError("another node's forward?")

    def estimate(self, out: Tensor) -> None:
        """Write the rebuilt ``hM`` ``(N, T, D)`` of a pass in which every sample is reused into ``out``."""
        self.complete(out)

    def observe(self, v: Tensor, pictures: Tensor | None = None) -> Tensor:
        """See the model's output ``(N, C, ...)``; returns it with the rows of reused samples forecast.

        ``pictures`` ``(N, C, ...)`` are what the model sees in its input; by them it is reckoned what skipping risks.
        ``changed`` then says which rows are not what the model put out, by a forecast or by a correction.
        """
        if self.session.space is not Space.OUTPUT or not self.decisions:
            return v
        with self.session.own_memory():
            for i in sorted(range(len(v)), key=self.leaders.__contains__):  # who is followed comes first
                row, self.seen[i].leader = v[i], self._leader_of(i, v)
                if self.decisions[i].reuse:
                    self.samples[i].predictor.forecast(row)
                    self.changed[i] = True
                elif not self.session.never_reuses:  # a pass that had decided before another one ran out of memory
                    self.seen[i].picture = None if pictures is None else pictures[i]
                    self.samples[i].record(self.seen[i], row.clone())
                    self.changed[i] = self.samples[i].predictor.correct(row)
        return v

    def _leader_of(self, i: int, v: Tensor) -> Tensor | None:
        """The output that row ``i`` follows; what was computed learns nothing from a forecast."""
        leader = self.leaders.get(i)
        if leader is None or (self.decisions[leader].reuse and not self.decisions[i].reuse):
            return None
        return v[leader]

    def forecast(self) -> Tensor:
        """The forecast output ``(N, C, ...)`` of a pass that did not run, shaped as the newest recorded outputs."""
        newest = [sample.predictor.held[-1] for sample in self.samples]
        return self.observe(torch.stack(newest))

    def renew_misfits(self, kind: str, rows: Tensor) -> None:
        """Start histories again that were made with tensors of another layout."""
        for i, row in enumerate(rows):
            if not self.samples[i].fits(kind, row):
                self.samples[i] = self.session.replace(self.keys[i], self.samples[i].renewed(kind, row))

    def shape_of(self, kind: str) -> torch.Size:
        """Shape of the rows that the histories were made with."""
        return self.samples[0].layouts[kind][0]

    def _rebuild(self, i: int, row: Tensor) -> None:
        self.samples[i].predictor.forecast(row)
        if not self._keeps_whole:
            row.add_(self._inputs[i])

    def _probe_tokens(self, h: Tensor, copies: Sequence[Tensor] = ()) -> Sequence[Tensor]:
        """Own copies ``(K, D)`` of the probe tokens of ``h`` ``(N, T, D)``.

        Where every token is one, ``copies`` of whole rows ``(T, D)`` that are there already serve.
        """
        index = self.session.token_index(h.shape[1], h.device)
        if index is None:
            return copies or [row.clone() for row in h]
        return [row.index_select(0, index) for row in h]
