"""A gate that meets a speed target: the threshold is steered while the run goes on."""

from __future__ import annotations

import math

from .config import CacheConfig
from .gate import Gate
from .indicators import Indicator
from .schedule import Step

BISECTIONS = 24


class SteeredGate(Gate):
    """A gate that computes as many steps as the target says, where the error is largest.

    The sum of errors is shared out: with ``n`` computed steps left to spend on the open steps ahead, the threshold is
    the one that would spend them exactly if errors went on as foreseen (``Indicator.foresee``) times the mean of
    ``measured / foreseen`` so far.  What a sum had above the threshold is carried over to the next one, so that
    thresholds between two whole steps (every 2.5th step) do what they say; a rule that foresees its errors exactly is
    planned exactly and needs no such thing.
    """

    def __init__(self, config: CacheConfig, indicator: Indicator) -> None:
        super().__init__(math.inf, indicator.accumulates)
        self.config = config
        self.indicator = indicator
        self.spent = 0  # computed steps so far
        self.anchor = -1  # index of the last computed step
        self.carried = 0.0
        self.measured: list[float] = []  # measured / foreseen, per open step

    def admits(self, error: float, step: Step) -> bool:
        foreseen = self.indicator.foresee(step.sigmas, step.index, self.anchor)
        if not math.isfinite(error):
            return False
        if foreseen > 0:
            self.measured.append(error / foreseen)
        before = self.accumulated
        self.accumulated = self.accumulated + error if self.accumulates else self.carried + error
        ahead = [step.at(i) for i in range(step.index, len(step.sigmas) - 1)]
        open_steps = [s.index for s in ahead if self.config.closed(s) is None]
        spare = self._budget(step) - self.spent - (len(ahead) - len(open_steps))
        if spare <= 0 or spare >= len(open_steps):
            return spare <= 0
        unit = sum(self.measured) / len(self.measured) if self.measured else 1.0
        start = (before if self.accumulates else self.carried) / unit if unit > 0 else 0.0
        self.threshold = unit * self._plan(step.sigmas, open_steps, spare, start)
        return self.accumulated < self.threshold

    def computed(self, step: Step) -> None:
        self.carried = self._carry(self.accumulated, self.threshold) if math.isfinite(self.threshold) else 0.0
        self.accumulated = self.carried
        self.spent += step.index != self.anchor  # samplers of higher order call several times per step
        self.anchor = step.index

    def _budget(self, step: Step) -> int:
        """This run's share of the whole schedule's computed steps."""
        return round(self.config.goal.computed(step.total) * (len(step.sigmas) - 1) / step.total)

    def _plan(self, sigmas: tuple[float, ...], open_steps: list[int], spare: int, start: float) -> float:
        """A threshold that computes ``spare`` of the open steps.

        A rule that knows its errors beforehand gets the smallest, which keeps the worst skipped step as good as can be;
        one that only guesses them gets the middle of all that do, where a wrong guess does the least.
        """
        most = start + sum(self.indicator.foresee(sigmas, i, self.anchor) for i in open_steps) + 1.0

        def smallest(count: int) -> float:
            low, high = 0.0, most
            for _ in range(BISECTIONS):
                middle = (low + high) / 2
                low, high = (low, middle) if self._count(middle, sigmas, open_steps, start) <= count else (middle, high)
            return high

        if self.indicator.foresees:
            return smallest(spare)
        return (smallest(spare) + smallest(spare - 1)) / 2

    def _count(self, threshold: float, sigmas: tuple[float, ...], open_steps: list[int], start: float) -> int:
        """Open steps that this threshold would compute."""
        count, anchor, carried, total = 0, self.anchor, start, start
        for index in open_steps:
            error = self.indicator.foresee(sigmas, index, anchor)
            total = total + error if self.accumulates else carried + error
            if total >= threshold:
                count, anchor = count + 1, index
                carried = total = self._carry(total, threshold)
        return count

    def _carry(self, total: float, threshold: float) -> float:
        """What is left of a sum when its step is computed."""
        if self.indicator.foresees or not math.isfinite(total):
            return 0.0
        return min(max(total - threshold, 0.0), threshold)
