"""What the calibrated methods share: errors of a recorded run, brought to the steps of another, and plans over them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from ..config import CacheConfig
from ..observation import Observation
from ..schedule import ModelCall
from ..target import Target
from .base import PlannedIndicator

DEFAULT_TARGET = "2x"
Cost = Callable[[int, int], float]  # of computing these two steps and none between them


class Errors:
    """``errors(progress, gap)``: recorded error at a step whose like was computed ``gap`` steps before.

    In a run of another length than the recorded one the step at the same progress counts, and the gap is scaled.
    Behind the longest recorded gap errors go on in proportion; infinity where nothing was recorded.
    """

    def __init__(self, table: Sequence[Sequence[float]], method: str) -> None:
        if not table:
            raise ValueError(
                f"{method} needs a calibration with errors: run DiCache Calibrate and choose its result in DiCache "
                "Policy. Older calibrations have none."
            )
        self.table = table

    def at(self, step: ModelCall, gap: int) -> float:
        """Error of ``step`` if it was computed ``gap`` calls before."""
        position = round(step.progress * len(self.table))
        row = self.table[position] if position < len(self.table) else ()
        scaled = gap * len(self.table) / step.total
        whole = min(max(1, math.ceil(scaled - 1e-9)), len(row))
        if not whole or row[whole - 1] == 0:
            return math.inf
        return row[whole - 1] * max(1.0, scaled / whole)


class Planned(PlannedIndicator):
    """Computes the calls of a plan, made at the first open one for as many as the target allows."""

    limited_by: ClassVar[str] = "target"
    calibrated = True
    accumulates = False
    meets_target = True

    def __init__(self, config: CacheConfig, errors: Errors) -> None:
        super().__init__(config)
        self.errors = errors
        self.computed: frozenset[int] | None = None  # calls of this sequence

    def planned_error(self, obs: Observation) -> float:
        if self.computed is None:
            self.computed = frozenset(self._plan(obs.step))
        return math.inf if obs.step.call_index in self.computed else 0.0

    @abstractmethod
    def plan(self, steps: int, count: int, cost: Cost) -> Sequence[int]:
        """``count`` of ``steps`` positions, 0 among them; the call after the last one is computed in any case."""

    def _plan(self, step: ModelCall) -> list[int]:
        """Calls up to the last one of the warm-up and the last one of all are computed whatever the plan says."""
        calls = [step.at(i) for i in range(len(step.sequence.sigmas))]
        goal = self.config.speed_target or Target.parse(DEFAULT_TARGET)
        budget = round(goal.share(step.schedule.steps, step.total) * len(calls))
        first = max(0, sum(call.global_step < self.config.warmup_of(step.total) for call in calls) - 1)

        def cost(a: int, b: int) -> float:  # a step that was not recorded is as bad as can be
            return sum(min(self.errors.at(calls[first + i], i - a), 1.0) for i in range(a + 1, b))

        planned = self.plan(len(calls) - 1 - first, max(1, budget - first - 1), cost)
        return [*range(first), *(first + i for i in planned), len(calls) - 1]


def cheapest(steps: int, count: int, cost: Cost, shortest: int, longest: int, falling: bool = False) -> list[int]:
    """Where ``count`` intervals of ``shortest`` to ``longest`` steps begin that tile ``steps`` at the smallest cost.

    ``falling`` intervals never grow.  The dynamic program goes through (intervals so far, position, last interval);
    where no tiling exists the bounds are widened.
    """
    count = min(count, steps)
    best: dict[tuple[int, int], tuple[float, list[int]]] = {(0, longest): (0.0, [])}  # (position, last) -> cost, starts
    price: dict[tuple[int, int], float] = {}
    for _ in range(count):
        reached: dict[tuple[int, int], tuple[float, list[int]]] = {}
        for (position, last), (spent, starts) in best.items():
            for length in range(shortest, (last if falling else longest) + 1):
                end = position + length
                if end > steps:
                    break
                if (position, end) not in price:
                    price[position, end] = cost(position, end)
                key, total = (end, length if falling else longest), spent + price[position, end]
                if key not in reached or total < reached[key][0]:
                    reached[key] = (total, [*starts, position])
        best = reached
    done = [found for (position, _), found in best.items() if position == steps]
    if not done:
        return cheapest(steps, count, cost, max(1, shortest - 1), min(steps, longest + 1), falling)
    return min(done)[1]
