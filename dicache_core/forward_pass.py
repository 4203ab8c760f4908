"""One call of the model, as the cache sees it: ``enter``, ``probe``, then ``complete`` or ``estimate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .account import Account
from .measure import fetch
from .observation import Observation
from .predictors import Space
from .sample import Decision, SampleCache
from .schedule import Step
from .statistics import SampleKey
from .storage import CacheError

if TYPE_CHECKING:
    from .session import CacheSession


class StackLeftEarlyError(CacheError):
    """A pass was to be rebuilt behind the last block, which never came: its output is worth nothing."""

    found = "the model's forward leaves its stack of blocks before the last one, where skipped steps are rebuilt"
    reason = "stack left early"


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
        accounts = self._accounts(known)
        with self.session.own_memory():
            owed = [account.measure() for account in accounts]
            sums = [((), ()) if k else s.measure(o) for k, s, o in zip(known, self.samples, self.seen, strict=True)]
            asked = [*owed, *(group for pair in sums for group in pair)]
            values = iter(fetch([tensor for group in asked for tensor in group], self.session.reduce))
        for account, group in zip(accounts, owed, strict=True):
            account.settle([next(values) for _ in group])
        strains = [None if k else self.session.strain(key, self.step) for k, key in zip(known, self.keys, strict=True)]
        for i, (first, second) in enumerate(sums):
            ours = [next(values) for _ in first], [next(values) for _ in second]
            decision = known[i] or self.samples[i].judge(self.seen[i], *ours, strains[i])
            self.samples[i].settle(self.seen[i], decision)
            self.decisions.append(decision)
        return self.reuse

    def _accounts(self, known: Sequence[Decision | None]) -> list[Account]:
        """The accounts that the open decisions go by, each once."""
        asked = [key for sure, key in zip(known, self.keys, strict=True) if sure is None]
        found = [predictor.account for key in asked for predictor in self.session.mates(key)]
        return list({id(account): account for account in found}.values())

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
