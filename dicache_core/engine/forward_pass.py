"""One call of the model over a segment of its stack, most often the whole: ``enter``, ``probe``, then ``complete`` or
``rebuild``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain

import torch
from torch import Tensor

from ..image_error import GuidedPart
from ..methods.base import AuditedPredictor, MeasuredIndicator, Stage
from ..methods.error_estimate import ErrorEstimator
from ..methods.predictors import Space
from ..observation import Observation
from ..reasons import Reason
from ..reductions import mean_pool, to_host
from ..run_statistics import SampleKey
from ..schedule import ModelCall
from ..segments import Segment
from .decision import Decision
from .histories import Histories
from .run_environment import RunEnvironment
from .storage import CacheError, cache_allocations
from .stream_group import StreamGroup


class StackLeftEarlyError(CacheError):
    """A pass was to be rebuilt after the last block, which never came: its output is worth nothing."""

    found = "the model stops before its last block, where skipped steps are rebuilt"
    reason = Reason.STACK_LEFT_EARLY


class ForwardPass:
    """One call of the model over ``N`` samples, each with its own history and its own decision.

    Of a stack that is decided in parts it is one ``segment``, ``before`` being the pass over the one before it.

    Whatever it is shown it sees detached: outside inference mode and ``no_grad`` a history that is part of the host's
    graph would keep every step of the run alive, and its forecasts could not be written in place.
    """

    def __init__(
        self,
        run: RunEnvironment,
        histories: Histories,
        keys: list[SampleKey],
        step: ModelCall,
        latents: Tensor | None,
        cond_rows: Mapping[int, int],
        max_distance: Tensor | None = None,
        segment: Segment | None = None,
        before: ForwardPass | None = None,
    ) -> None:
        self.run = run
        self.segment = segment
        self._before = before
        self.histories = histories
        self.keys = keys
        self.samples = histories.enter(keys, step)
        self.step = step
        rows = [None] * len(keys) if latents is None else list(latents.detach())
        self.cond_rows = cond_rows
        leading = set(cond_rows.values())
        self.observations = [
            Observation(step, row, is_uncond=i in cond_rows, is_cond=i in leading, segment=segment)
            for i, row in enumerate(rows)
        ]
        self.decisions: list[Decision] = []
        self.changed = [False] * len(keys)  # per sample, whether its output is not the model's own
        self._keeps_whole = False
        self._inputs: list[Tensor] = []  # own copies of h0, (T, D) each: blocks may change their input in place
        if latents is not None:
            self.reset_on_layout_change("latent", latents)
            if not histories.never_reuses:
                self._see(latents, None if before else max_distance)  # the first segment looks for all

    @property
    def reuse(self) -> tuple[bool, ...]:
        """Per sample, whether it is reused; empty before the decision."""
        return tuple(d.reuse for d in self.decisions)

    @property
    def all_reused(self) -> bool:
        return bool(self.decisions) and all(self.reuse)

    def parts(self, denoised: Tensor, weights: Sequence[float]) -> list[GuidedPart]:
        """Every row's part in the guided output: what the guider got of it, ``(N, C, ...)``, and its first guess."""
        rows = zip(self.keys, weights, denoised, self.observations, strict=True)
        return [GuidedPart(key.row, weight, row, obs.displaced) for key, weight, row, obs in rows]

    def _see(self, latents: Tensor, max_distance: Tensor | None) -> None:
        with cache_allocations():
            for sample, row in zip(self.samples, latents, strict=True):
                sample.see(row, max_distance)

    def settle(self) -> bool:
        """Decide a segment before its blocks run, where that needs none of them; whether they are to be watched at all.

        They are not where all samples are computed and nothing of it will be used.
        """
        rows = list(zip(self.samples, self.observations, strict=True))
        used = any(sample.will_be_used(obs) for sample, obs in rows)
        closed = not used and all(sample.forced_decision(obs, consecutive=0) for sample, obs in rows)
        if self.run.stage is Stage.INPUT or closed:
            self.decide()
        return not self.decisions or used or any(self.reuse)

    def fetch(self) -> None:
        """Begin to bring back what a segment is rebuilt from, where it is decided already that it will be."""
        with cache_allocations():
            for sample, reuse in zip(self.samples, self.reuse, strict=False):
                for stored in sample.predictor.stored if reuse else ():
                    self.run.storage.fetch(stored)

    def enter(
        self,
        h0: Tensor,
        modulated: Tensor | None = None,
        *,
        keeps_whole: bool = False,
        measured: Tensor | None = None,
    ) -> None:
        """See the hidden state ``(N, T, D)`` that enters the stack, image tokens only, and copy what is needed.

        With ``keeps_whole`` the cache keeps ``hM`` itself in place of the residual ``hM - h0``: where channels change
        on the way there is none.  ``modulated`` is ``(N, T, D)``, or ``(N, [T,] H, W, D)`` where a rule wants the grid.
        ``measured`` ``(N, T', D')`` are those of its tokens that rules look at, where they are fewer; so in ``probe``.
        """
        h0, known = h0.detach(), list(self.samples)
        self.reset_on_layout_change("hidden", h0)
        if self.decisions and self.samples != known:  # decided beforehand, for rows of another layout
            self.decisions = []
            self.decide()
        self._keeps_whole = keeps_whole
        with cache_allocations():
            if self.run.space is Space.RESIDUAL and not keeps_whole and not self._behind_probe:
                self._inputs = [row.clone() for row in h0]
            for obs, row in zip(self.observations, self._tokens_seen(h0, measured, self._inputs), strict=True):
                obs.h0 = row
            if modulated is not None:
                for obs, row in zip(self.observations, modulated.detach(), strict=True):
                    viewed = self.run.indicator.view(row, self.step).flatten(0, -2)
                    (obs.modulated,) = self._probe_tokens(viewed.unsqueeze(0))

    def probe(self, hm: Tensor, measured: Tensor | None = None) -> tuple[bool, ...]:
        """See the hidden state ``(N, T, D)`` after the probe's blocks and decide, per sample, whether to reuse."""
        hm = hm.detach()
        with cache_allocations():
            if self._behind_probe:
                self._inputs = [row.clone() for row in hm]
            for obs, row in zip(self.observations, self._tokens_seen(hm, measured), strict=True):
                obs.hm = row
        return self.decide()

    @property
    def _behind_probe(self) -> bool:
        return self.segment is not None and self.segment.behind_probe

    def decide(self) -> tuple[bool, ...]:
        """Decide with what has been seen so far; costs one device sync, or none where every decision is known.

        What is asked of the device goes to the host in one transfer: input jumps that nobody read yet, the sums of
        error estimators, and of each row those of ``SampleHistory.measure``.
        """
        if self._before is not None:
            for obs, led in zip(self.observations, self._before.reuse, strict=False):
                obs.led = led
            for sample, first in zip(self.samples, self._before.samples, strict=True):
                sample.read_input_jump(float(first.image_changed))
        with self.histories.deciding:  # one thread at a time: the first decides for the streams of the others
            groups = [self.histories.group(key) for key in self.keys]
            forced = self._forced_decisions(groups)
            estimators = self._estimators(forced, groups)
            with cache_allocations():
                of_estimators = [estimator.measure() for estimator in estimators]
                rows = zip(self.samples, self.observations, forced, groups, strict=True)
                of_rows = [sample.measure(obs, sure, group.shared) for sample, obs, sure, group in rows]
                asked = [tensor for sums in (*of_estimators, *chain(*of_rows)) for tensor in sums]
                unread = [s for s in self.samples if s.input_jump is not None] if asked else []  # no sync of their own
                values = iter(to_host([*(s.input_jump for s in unread), *asked], self.run.reduce))
            for sample in unread:
                sample.read_input_jump(next(values))
            forced = [sure or found for sure, found in zip(forced, self._forced_decisions(groups), strict=True)]
            for estimator, sums in zip(estimators, of_estimators, strict=True):
                estimator.load_sums([next(values) for _ in sums])
            for i, of_row in enumerate(of_rows):
                self._commit(i, forced[i], groups[i], [[next(values) for _ in sums] for sums in of_row])
        return self.reuse

    def bypass(self, reason: Reason) -> None:
        """Compute all samples of this call and learn nothing of them."""
        self.decisions = [Decision(reuse=False, reason=reason)] * len(self.keys)

    def miss(self) -> None:
        """The blocks of a segment that was decided never came: nothing that is kept goes on from here."""
        self.bypass(Reason.NO_BLOCK_SEEN)
        self.histories.forget(self.keys)

    def _commit(self, i: int, decision: Decision | None, group: StreamGroup, sums: Sequence[Sequence[float]]) -> None:
        """Decide for row ``i``, where ``decision`` is not known yet; ``sums`` as ``SampleHistory.measure`` asked."""
        for_indicator, for_predictor, for_input = sums
        sample, obs = self.samples[i], self.observations[i]
        measured = isinstance(sample.indicator, MeasuredIndicator) and (decision is None or len(for_indicator) > 0)
        error = sample.indicator.error(obs, for_indicator) if measured else None
        moved = sample.input.moved(for_input)
        if decision is None:
            asked = group.decide(obs, error, moved, partial(self.histories.latent_error, self.keys[i], self.step))
            decision = sample.follow(obs, asked, for_indicator, for_predictor)
        elif decision.reuse:
            decision = sample.follow(obs, group.agree(decision), (), ())
        sample.commit(obs, decision, error, moved)
        self.decisions.append(decision)

    def _forced_decisions(self, groups: Sequence[StreamGroup]) -> list[Decision | None]:
        rows = zip(self.samples, self.observations, groups, strict=True)
        return [
            self.histories.abandoned or sample.forced_decision(obs, group.consecutive) for sample, obs, group in rows
        ]

    def _estimators(self, forced: Sequence[Decision | None], groups: Sequence[StreamGroup]) -> list[ErrorEstimator]:
        """The error estimators that the open decisions go by, each once."""
        rows = zip(forced, groups, self.keys, strict=True)
        asked = [key for sure, group, key in rows if sure is None and group.decision is None]
        found = [predictor.error_estimator for key in asked for predictor in self.histories.group_predictors(key)]
        return list({id(estimator): estimator for estimator in found}.values())

    def complete(self, hM: Tensor) -> None:
        """See the hidden state ``(N, T, D)`` after the last block; rows of reused samples are overwritten."""
        if self.run.space is not Space.RESIDUAL or not self.decisions:
            return
        with cache_allocations():
            for i, row in enumerate(hM.detach()):
                if self.decisions[i].reuse:
                    self._rebuild(i, row)
                elif self._keeps_whole:
                    self.samples[i].record(self.observations[i], row.clone())
                else:
                    entered = self._inputs[i]
                    free = None if entered is self.observations[i].h0 else entered  # memory that nobody reads any more
                    residual = torch.sub(row, entered, out=free)
                    self.samples[i].record(self.observations[i], residual)
        self._inputs = []

    def check_completed(self) -> None:
        """Raise ``StackLeftEarlyError`` after a forward that did not come to where its skipped rows are rebuilt."""
        if self._inputs and any(self.reuse):
            raise StackLeftEarlyError("another node's forward?")

    def rebuild(self, out: Tensor) -> None:
        """Write the rebuilt ``hM`` ``(N, T, D)`` of a pass in which every sample is reused into ``out``."""
        self.complete(out)

    def observe(self, v: Tensor, denoised: Tensor | None = None) -> Tensor:
        """See the model's output ``(N, C, ...)``; returns it with the rows of reused samples forecast.

        ``denoised`` ``(N, C, ...)`` are what the model sees in its input; by them it is reckoned what skipping risks.
        ``changed`` then says which rows are not what the model put out, by a forecast or by a correction.
        """
        if self.run.space is not Space.OUTPUT or not self.decisions:
            return v
        out, denoised = v.detach(), None if denoised is None else denoised.detach()
        with cache_allocations():
            for i in sorted(range(len(v)), key=self.cond_rows.__contains__):  # who is followed comes first
                row, self.observations[i].cond_output = out[i], self._cond_output_of(i, out)
                if self.decisions[i].reuse:
                    self.samples[i].predictor.forecast(row)
                    self.changed[i] = True
                elif not self.histories.never_reuses:  # a pass that had decided before another one ran out of memory
                    self.observations[i].denoised = None if denoised is None else denoised[i]
                    self.samples[i].record(self.observations[i], row.clone())
                    predictor = self.samples[i].predictor
                    self.changed[i] = isinstance(predictor, AuditedPredictor) and predictor.correct(row)
        return out if any(self.changed) else v

    def _cond_output_of(self, i: int, v: Tensor) -> Tensor | None:
        """The output that row ``i`` follows; what was computed learns nothing from a forecast."""
        cond_row = self.cond_rows.get(i)
        if cond_row is None or (self.decisions[cond_row].reuse and not self.decisions[i].reuse):
            return None
        return v[cond_row]

    def forecast(self) -> Tensor:
        """The forecast output ``(N, C, ...)`` of a pass that did not run, shaped as the newest recorded outputs."""
        newest = self.samples[0].predictor.held[-1]
        return self.observe(newest.new_empty(len(self.samples), *newest.shape))

    def reset_on_layout_change(self, kind: str, rows: Tensor) -> None:
        """Start histories again that were made with tensors of another layout."""
        for i, row in enumerate(rows):
            if not self.samples[i].fits(kind, row):
                self.samples[i] = self.histories.replace(self.keys[i], self.samples[i].renewed(kind, row))

    def shape_of(self, kind: str) -> torch.Size:
        """Shape of the rows that the histories were made with."""
        return self.samples[0].layouts[kind][0]

    def _rebuild(self, i: int, row: Tensor) -> None:
        self.samples[i].predictor.forecast(row)
        if not self._keeps_whole:
            row.add_(self._inputs[i])

    def _tokens_seen(self, h: Tensor, measured: Tensor | None, copies: Sequence[Tensor] = ()) -> Sequence[Tensor]:
        """What rules look at of a hidden state, own copies ``(K, D)`` per sample: the probe's tokens, or means."""
        seen = h if measured is None else measured.detach()
        if self.run.indicator.pools:
            return list(mean_pool(seen, self.run.indicator.pools[self.segment.part]))
        return self._probe_tokens(seen, copies if measured is None else ())

    def _probe_tokens(self, h: Tensor, copies: Sequence[Tensor] = ()) -> Sequence[Tensor]:
        """Own copies ``(K, D)`` of the probe tokens of ``h`` ``(N, T, D)``.

        Where every token is one, ``copies`` of whole rows ``(T, D)`` that are there already serve.
        """
        index = self.run.token_index(h.shape[1], h.device)
        if index is None:
            return copies or [row.clone() for row in h]
        return [row.index_select(0, index) for row in h]
