"""What a run did: per forward pass the decisions and the seconds, and sums over the run."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from copy import copy
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple

from .closeness import closeness_of
from .config import CacheConfig
from .limits import in_force
from .sample import UNDECIDED, VETO, Decision
from .schedule import Schedule, Step, rectified_flow
from .situation import Recall, Situation
from .timing import Measured, Stopwatch

CELLS = {"warm-up": "w", "last step": "l"}  # other computed steps are "c", reused ones "r", mixed batches "m"


class SampleKey(NamedTuple):
    """Which sample a decision is about: a stream (one cond of one kind of pass) and a row of its batch.

    What one sampler puts together, guidance for one, should not be skipped in part: the streams of one ``group`` answer
    together for what a skip risks, row by row.

    In a run's statistics the stream is a number, counted from 0 in the order of appearance.
    """

    stream: Hashable
    row: int
    group: Hashable = None


@dataclass(frozen=True)
class PassRecord:
    """One forward pass: its step, its samples' decisions, and how long it took."""

    step: Step
    keys: tuple[SampleKey, ...]
    decisions: tuple[Decision, ...]
    stopwatch: Stopwatch | Measured

    @property
    def reused(self) -> int:
        return sum(d.reuse for d in self.decisions)

    @property
    def cell(self) -> str:
        """One character for this pass, see ``RunStatistics.cells``."""
        if self.reused:
            return "r" if self.reused == len(self.decisions) else "m"
        return CELLS.get(self.decisions[0].reason, "c")


class RunStatistics:
    """The record of one sampling run. Holds numbers only, never a tensor.

    Slots that the host fills: ``architecture``, ``prompt`` (its name for the work the run belongs to), ``finished``,
    ``situation``, and ``recall`` (what became of the preset ``tuned``; ``None`` with any other).
    """

    def __init__(self, schedule: Schedule, config: CacheConfig) -> None:
        self.schedule = schedule
        self.config = config
        self.passes: list[PassRecord] = []
        self.held_bytes = 0
        self.risks: dict[int, float] = {}  # per row of the batch, how far its picture may be off; known at the end
        self.architecture = ""
        self.prompt: str | None = None
        self.finished = False
        self.situation: Situation | None = None
        self.recall: Recall | None = None

    def record(self, passed: PassRecord) -> None:
        self.passes.append(passed)

    @property
    def cells(self) -> str:
        """One character per step: w warm-up, c computed, r reused, m mixed (some samples reused), l last, - not yet."""
        per_step: list[set[str]] = [set() for _ in range(self.schedule.steps)]
        for passed in self.passes:
            per_step[passed.step.index].add(passed.cell)
        return "".join(_one_cell(cells) for cells in per_step)

    @property
    def computed(self) -> int:
        """Steps in which some sample ran the whole stack."""
        return sum(c in "wclm" for c in self.cells)

    @property
    def risk(self) -> float | None:
        """How far the worst picture may be off, relative to itself; ``None`` before the end, and where nobody knows."""
        return max(self.risks.values(), default=None)

    @property
    def closeness(self) -> str | None:
        """The word for ``risk``; ``None`` also where nothing was skipped, as there is nothing to tell then."""
        return closeness_of(self.risk) if any(p.reused for p in self.passes) else None

    @property
    def vetoed(self) -> int:
        """Steps that were to be skipped and that the model had computed, since its forecasts were off."""
        return len({p.step.index for p in self.passes if any(d.reason == VETO for d in p.decisions)})

    @property
    def undecided(self) -> int:
        """Passes that visited none of the blocks that decide; they count as computed."""
        return sum(UNDECIDED in p.decisions for p in self.passes)

    @property
    def calls_computed(self) -> int:
        """Calls of the model in which some sample ran the whole stack; some samplers make several per step."""
        return sum(passed.cell != "r" for passed in self.passes)

    @property
    def reused(self) -> int:
        """Steps in which every sample was reused."""
        return self.cells.count("r")

    def seconds(self, cells: str) -> list[float]:
        """Seconds of the passes whose cell is one of ``cells``, as far as they are known."""
        found = (p.stopwatch.seconds for p in self.passes if p.cell in cells)
        return [s for s in found if s is not None]

    @property
    def computed_seconds(self) -> float | None:
        """Median seconds of a fully computed pass."""
        seconds = self.seconds("wcl")
        return median(seconds) if seconds else None

    @property
    def reused_seconds(self) -> float | None:
        """Median seconds of a fully reused pass."""
        seconds = self.seconds("r")
        return median(seconds) if seconds else None

    @property
    def saved_seconds(self) -> float:
        """Measured: what the reused passes would have cost at the median of the computed ones, less what they took."""
        if self.computed_seconds is None:
            return 0.0
        spent = self.seconds("rm")
        return len(spent) * self.computed_seconds - sum(spent)

    @property
    def speedup(self) -> float | None:
        """Seconds that all passes so far would have taken if computed, over the seconds they took."""
        spent = sum(self.seconds("wclrm"))
        return (spent + self.saved_seconds) / spent if spent > 0 else None

    def seconds_per_step(self) -> list[float | None]:
        """Seconds of all passes of each step; ``None`` where nothing was measured."""
        steps: list[float | None] = [None] * self.schedule.steps
        for passed in self.passes:
            if passed.stopwatch.seconds is not None:
                steps[passed.step.index] = (steps[passed.step.index] or 0.0) + passed.stopwatch.seconds
        return steps

    def settled(self) -> RunStatistics:
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

    def lanes(self) -> dict[SampleKey, list[tuple[Step, Decision]]]:
        """Per sample, its steps and decisions in order."""
        lanes: dict[SampleKey, list[tuple[Step, Decision]]] = {}
        for passed in self.passes:
            for key, decision in zip(passed.keys, passed.decisions, strict=True):
                lanes.setdefault(key, []).append((passed.step, decision))
        return lanes

    def summary(self) -> dict[str, Any]:
        """Everything a report needs, ready for JSON."""
        return {
            "architecture": self.architecture,
            "finished": self.finished,
            "steps": self.schedule.steps,
            "steps_before": self.schedule.steps_before,
            "steps_after": self.schedule.steps_after,
            "computed": self.computed,
            "calls": len(self.passes),
            "calls_computed": self.calls_computed,
            "reused": self.reused,
            "cells": self.cells,
            "seconds": sum(self.seconds("wclrm")),
            "seconds_computed_step": self.computed_seconds,
            "seconds_reused_step": self.reused_seconds,
            "seconds_saved": self.saved_seconds,
            "seconds_per_step": self.seconds_per_step(),
            "speedup": self.speedup,
            "held_bytes": self.held_bytes,
            "risk": finite(self.risk),
            "closeness": self.closeness,
            "vetoed": self.vetoed,
            "settings": {**_settings(self.config), "warmup_steps": self.config.warmup_of(self.schedule.total)},
            "in_force": in_force(self.config),
            "tuned": self.recall and asdict(self.recall),
            "lanes": [_lane(key, steps, n) for n, (key, steps) in enumerate(self.lanes().items())],
        }


def _one_cell(cells: Iterable[str]) -> str:
    """Several passes of a step in one character: mixed as soon as some reused and some did not."""
    cells = set(cells)
    if not cells:
        return "-"
    if "m" in cells or ("r" in cells and len(cells) > 1):
        return "m"
    return next(c for c in "wlcr" if c in cells)


def _lane(key: SampleKey, steps: list[tuple[Step, Decision]], number: int) -> dict[str, Any]:
    return {
        "lane": number,
        "stream": key.stream,
        "row": key.row,
        "steps": [
            {"step": s.index, "place": s.place, "sigma": s.sigma, **{k: finite(v) for k, v in _told(d).items()}}
            for s, d in steps
        ],
    }


def _told(decision: Decision) -> dict[str, Any]:
    """A decision without what a rule measured for its own use."""
    return {k: v for k, v in asdict(decision).items() if k != "measured"}


def _settings(config: CacheConfig) -> dict[str, Any]:
    """All but the tables, which are long and tell people nothing."""
    return {k: v for k, v in asdict(config).items() if k not in ("residual_errors", "velocity_errors")}


def finite(value: Any) -> Any:
    """``value``, or ``None`` for a number that is infinite or none: JSON knows neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
