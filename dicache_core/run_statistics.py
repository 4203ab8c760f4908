"""What a run did: per forward pass the decisions and the seconds, and sums over the run."""

from __future__ import annotations

from collections.abc import Hashable, Set
from copy import copy
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import NamedTuple

from .config import CacheConfig
from .effective_settings import tells_errors
from .engine.decision import Decision
from .quality import closeness_of
from .reasons import COMPUTED, SKIPPED, Reason, StepCode
from .schedule import ModelCall, Schedule, rectified_flow
from .timing import Measured, Stopwatch
from .tuning.context import RunContext, TunedMatch

# Of the codes of an evaluation's passes the first that is there.
ONE_OF = (StepCode.MIXED, StepCode.PARTIAL, StepCode.WARM_UP, StepCode.LAST, StepCode.COMPUTED, StepCode.REUSED)


class SampleKey(NamedTuple):
    """Which sample a decision is about: a stream (one cond of one kind of pass) and a row of its batch.

    What guidance puts together is not skipped in part: streams of one ``group`` decide together, row by row, see
    ``StreamGroup``; ``None`` is a stream that decides alone.  All streams of a row answer together for what a skip
    risks.

    What is kept of a stack in parts is kept of each ``segment`` of its own; decisions are told of all together, as 0.

    In a run's statistics the stream is a number, counted from 0 in the order of appearance.
    """

    stream: Hashable
    row: int
    group: Hashable = None
    segment: int = 0


@dataclass(frozen=True)
class PassRecord:
    """One forward pass: its step, its samples' decisions, how long it took, and the evaluation that it is part of.

    Evaluations are numbered from 0; ``None`` is one of its own, which ``RunStatistics.record`` gives the next number.
    """

    step: ModelCall
    keys: tuple[SampleKey, ...]
    decisions: tuple[Decision, ...]
    stopwatch: Stopwatch | Measured
    evaluation: int | None = None

    @property
    def reused(self) -> int:
        return sum(d.reuse for d in self.decisions)

    @property
    def cell(self) -> StepCode:
        """The code of this pass, see ``RunStatistics.cells``."""
        mixed = 0 < self.reused < len(self.decisions)
        return StepCode.MIXED if mixed else self.decisions[0].code


@dataclass(frozen=True)
class StreamName:
    """What a stream is to people: its ``role``, empty where nobody said, and its ``number`` among those of one role."""

    role: str
    number: int


class RunStatistics:
    """The record of one sampling run. Holds numbers only, never a tensor.

    A run is told by its *evaluations* of the model: what the sampler asks for at once, be it one forward pass or
    several (positive and negative, the windows of a video).  Most samplers make one for each step of the schedule.

    Attributes that the host fills: ``architecture``, ``prompt`` (its name for the work the run belongs to),
    ``finished``, ``other_cache`` (the name of another one on the same model), ``stopped`` (whether it ended by an error
    or the stop button), ``sampler_known`` (whether its sampler could be asked for its calls), ``run_context``,
    ``tuned_match`` (what became of the preset ``tuned``; ``None`` with any other), and ``compiler`` (what became of the
    host's own, a key of ``COMPILER``; ``None`` where nothing did).
    """

    def __init__(self, schedule: Schedule, config: CacheConfig) -> None:
        self.schedule = schedule
        self.config = config
        self.passes: list[PassRecord] = []
        self.held_bytes = 0
        self.image_errors: dict[int, float] = {}  # per row, see ``ImageErrorEstimator``; known at the end
        self.architecture = ""
        self.prompt: str | None = None
        self.finished = False
        self.other_cache: str | None = None
        self.stopped = False
        self.sampler_known = True
        self.roles: dict[int, str] = {}  # of streams, in the host's words: "positive", "negative"
        self.evaluations = 0
        self.run_context: RunContext | None = None
        self.tuned_match: TunedMatch | None = None
        self.compiler: str | None = None
        self.block_changes: tuple[tuple[float, ...], ...] = ()  # of a calibrating run, see ``BlockRecorder``

    def record(self, passed: PassRecord) -> None:
        number = self.evaluations if passed.evaluation is None else passed.evaluation
        self.evaluations = max(self.evaluations, number + 1)
        self.passes.append(replace(passed, evaluation=number))

    @property
    def cells(self) -> str:
        """One character per evaluation, see ``StepCode``.

        What is to come stands as "-"; in a run that came to its end that is nothing, whatever was expected.
        """
        found: list[set[StepCode]] = [set() for _ in range(self.evaluations)]
        for passed in self.passes:
            found[passed.evaluation].add(passed.cell)
        return "".join(_one_cell(cells) for cells in found) + StepCode.TO_COME * self._to_come

    @property
    def _to_come(self) -> int:
        """Evaluations that are expected yet."""
        if self.finished and not self.stopped:
            return 0
        if self.passes and not self.passes[-1].step.planned:
            return self.schedule.steps - 1 - self.passes[-1].step.step_index
        return max(0, sum(len(sequence.sigmas) for sequence in self.schedule.sequences) - self.evaluations)

    @property
    def by_steps(self) -> bool:
        """Whether there is one evaluation per step of the schedule, so that people may be told of steps."""
        return len(self.cells) == self.schedule.steps

    @property
    def computed(self) -> int:
        """Evaluations in which some sample ran the whole stack."""
        return sum(cell in COMPUTED or cell == StepCode.MIXED for cell in self.cells)

    @property
    def shares(self) -> list[float] | None:
        """Per evaluation, the share of the stack's blocks that ran; ``None`` where steps are skipped as a whole."""
        if not any(d.share is not None for passed in self.passes for d in passed.decisions):
            return None
        found: list[list[float]] = [[] for _ in range(self.evaluations)]
        for passed in self.passes:
            found[passed.evaluation] += [float(not d.reuse) if d.share is None else d.share for d in passed.decisions]
        return [fmean(shares) for shares in found]

    @property
    def ran(self) -> float:
        """``computed``, or of a run in parts its ``shares`` added up."""
        shares = self.shares
        return self.computed if shares is None else sum(shares)

    @property
    def image_error(self) -> float | None:
        """How far the worst image may be off; ``None`` before the end, and where nobody knows."""
        return max(self.image_errors.values(), default=None)

    @property
    def closeness(self) -> str | None:
        """The word for ``image_error``; ``None`` also where nothing was skipped, as there is nothing to tell then."""
        return closeness_of(self.image_error) if any(p.reused for p in self.passes) else None

    @property
    def vetoed(self) -> int:
        """Evaluations that were to be skipped and that the model had computed, since its forecasts were off."""
        return len({p.evaluation for p in self.passes if any(d.reason is Reason.VETO for d in p.decisions)})

    @property
    def calls_computed(self) -> int:
        """Forward passes in which some sample ran the whole stack: what a search for settings counts as work."""
        return sum(passed.cell is not StepCode.REUSED for passed in self.passes)

    @property
    def reused(self) -> int:
        """Evaluations in which every sample was reused."""
        return self.cells.count(StepCode.REUSED)

    def seconds(self, codes: Set[StepCode]) -> list[float]:
        """Seconds of the evaluations whose cell is one of ``codes``, as far as they are known."""
        found = zip(self.seconds_per_step(), self.cells, strict=True)
        return [seconds for seconds, cell in found if cell in codes and seconds is not None]

    @property
    def computed_seconds(self) -> float | None:
        """Median seconds of a fully computed evaluation."""
        seconds = self.seconds(COMPUTED)
        return median(seconds) if seconds else None

    @property
    def reused_seconds(self) -> float | None:
        """Median seconds of a fully reused evaluation."""
        seconds = self.seconds({StepCode.REUSED})
        return median(seconds) if seconds else None

    @property
    def saved_seconds(self) -> float:
        """Measured: what the reused ones would have cost at the median of the computed ones, less what they took."""
        computed, spent = self.computed_seconds, self.seconds(SKIPPED)
        return 0.0 if computed is None else len(spent) * computed - sum(spent)

    @property
    def speedup(self) -> float | None:
        """Seconds that all evaluations so far would have taken if computed, over the seconds they took."""
        spent = sum(self.seconds(COMPUTED | SKIPPED))
        return (spent + self.saved_seconds) / spent if spent > 0 else None

    def seconds_per_step(self) -> list[float | None]:
        """Seconds of each evaluation from the end of the one before, in step with ``cells``; ``None``: not measured."""
        found: list[float | None] = [None] * len(self.cells)
        for passed in self.passes:
            if passed.stopwatch.seconds is not None:
                found[passed.evaluation] = (found[passed.evaluation] or 0.0) + passed.stopwatch.seconds
        return found

    def detached(self) -> RunStatistics:
        """A copy that can go to another process: seconds in place of what is read off a device, and no function of the
        model's. Of its steps only ``log_snr`` means nothing any more.
        """
        copied = copy(self)
        copied.schedule = replace(self.schedule, noise_share=rectified_flow)
        copied.passes = [
            replace(p, step=replace(p.step, schedule=copied.schedule), stopwatch=Measured(p.stopwatch.seconds))
            for p in self.passes
        ]
        return copied

    def by_sample(self) -> dict[SampleKey, list[tuple[ModelCall, Decision]]]:
        """Per sample, its steps and decisions in order."""
        return {key: [(p.step, d) for p, d in passes] for key, passes in self.passes_by_sample().items()}

    def computed_calls(self) -> dict[int, tuple[int, ...]]:
        """Of each row the calls (``call_index``) that were computed; with guidance those of its first stream."""
        rows: dict[int, tuple[int, ...]] = {}
        for key, decisions in self.by_sample().items():
            rows.setdefault(key.row, tuple(step.call_index for step, decision in decisions if not decision.reuse))
        return rows

    def passes_by_sample(self) -> dict[SampleKey, list[tuple[PassRecord, Decision]]]:
        """Per sample, the passes that it was part of and what was decided for it there."""
        samples: dict[SampleKey, list[tuple[PassRecord, Decision]]] = {}
        for passed in self.passes:
            for key, decision in zip(passed.keys, passed.decisions, strict=True):
                samples.setdefault(key, []).append((passed, decision))
        return samples

    def shown(self, decision: Decision) -> Decision:
        """A decision as people are shown it: without an error where its rule measures or foresees none."""
        return decision if tells_errors(self.config) else replace(decision, error=None, accumulated=None)

    def name_of(self, key: SampleKey) -> StreamName:
        """What people call the stream of a sample."""
        role = self.roles.get(key.stream, "")
        return StreamName(role, 1 + sum(self.roles.get(earlier, "") == role for earlier in range(key.stream)))


def _one_cell(cells: Set[StepCode]) -> StepCode:
    """Several passes of an evaluation in one code: mixed as soon as some reused and some did not."""
    if not cells:
        return StepCode.TO_COME
    if cells & SKIPPED and len(cells) > 1:
        return StepCode.MIXED
    return next(code for code in ONE_OF if code in cells)
