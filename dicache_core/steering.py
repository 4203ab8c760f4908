"""A gate that meets a speed target: the threshold is steered while the run goes on."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

from .config import CacheConfig
from .gate import Gate
from .indicators import Indicator
from .schedule import Step

PRECISION = 1e-6  # of a planned threshold, relative
NEAR = 1e-3  # of a threshold, relative: where the next one is looked for first
TINY = 1e-9  # where every error ahead is foreseen as 0


class SteeredGate(Gate):
    """A gate that computes as many calls as the target says, where the error is largest.

    The sum of errors is shared out: with ``n`` computed calls left to spend on the open calls ahead, the threshold is
    the one that would spend them exactly if errors went on as foreseen (``Indicator.foresee``) times the mean of
    ``measured / foreseen`` so far.  What a sum had above the threshold is carried over to the next one, so that
    thresholds between two whole steps (every 2.5th step) do what they say; a rule that foresees its errors exactly is
    planned exactly and needs no such thing.

    The target is for a whole schedule of steps; the gate's own share of it is that of its calls, counted from the first
    one that it sees: samplers of higher order make several calls per step, and a cond may come in late.
    """

    def __init__(self, config: CacheConfig, indicator: Indicator) -> None:
        super().__init__(math.inf, indicator.accumulates)
        self.config = config
        self.indicator = indicator
        self.plan: Plan | None = None
        self.spent = 0  # computed calls so far
        self.anchor = -1  # the last computed call
        self.carried = 0.0
        self.units = 0.0  # sum of measured / foreseen over the open calls so far
        self.measured = 0  # how many these are

    def admits(self, error: float, step: Step) -> bool:
        if not math.isfinite(error):
            return False
        plan = self._plan_from(step)
        foreseen = self.indicator.foresee(step, self.anchor)
        if foreseen > 0:
            self.units, self.measured = self.units + error / foreseen, self.measured + 1
        before = self.accumulated if self.accumulates else self.carried
        self.accumulated = before + error
        spare = plan.budget - self.spent - plan.forced_from(step.call)
        if spare <= 0 or spare >= plan.open_from(step.call):
            return spare <= 0
        unit = self.units / self.measured if self.measured else 1.0
        start = before / unit if unit > 0 else 0.0
        self.threshold = unit * self._threshold(step, spare, start)
        return self.accumulated < self.threshold

    def vetoed(self, step: Step) -> None:
        """The call was not to be spent: it comes on top, so that none is missing where it was planned."""
        self._plan_from(step).budget += 1

    def computed(self, step: Step) -> None:
        self._plan_from(step)
        self.spent += step.planned or step.call != self.anchor  # an unknown sampler may call several times per step
        self.carried = self._carry(self.accumulated, self.threshold) if math.isfinite(self.threshold) else 0.0
        self.accumulated = self.carried
        self.anchor = step.call

    def _plan_from(self, step: Step) -> Plan:
        if self.plan is None or self.plan.lane != step.lane:
            self.plan, self.spent = Plan(self.config, self.indicator, step), 0
        return self.plan

    def _threshold(self, step: Step, spare: int, start: float) -> float:
        """A threshold that computes ``spare`` of the open calls ahead.

        A rule that knows its errors beforehand gets the smallest, which keeps the worst skipped step as good as can be;
        one that only guesses them, every call as bad as the next, gets the middle of all that do, where a wrong guess
        does the least.
        """
        if self.indicator.foresees:
            return self.plan.smallest(step.call, self.anchor, spare, start)
        total = start + self.plan.open_from(step.call)
        return (total / spare + total / (spare + 1)) / 2

    def _carry(self, total: float, threshold: float) -> float:
        """What is left of a sum when its step is computed."""
        if self.indicator.foresees or not math.isfinite(total):
            return 0.0
        return min(max(total - threshold, 0.0), threshold)


class Plan:
    """The calls of one lane from ``first`` on: which are open, and how many may be computed in all."""

    def __init__(self, config: CacheConfig, indicator: Indicator, first: Step) -> None:
        self.lane = first.lane
        calls = [first.at(call) for call in range(len(self.lane.sigmas))]
        closed = [config.closed(call) is not None for call in calls]
        self.open = [number for number, shut in enumerate(closed) if not shut]
        self._ahead = list(accumulate(map(int, reversed(closed)), initial=0))[::-1]  # closed calls from each one on
        share = config.goal.share(first.schedule.steps, first.total)
        self.budget = round(share * (len(calls) - first.call))
        self._places = [call.log_snr for call in calls] if indicator.foresees else []
        self._last = 0.0  # the threshold found last
        self._paces = [indicator.pace(call) for call in calls] if indicator.foresees else []

    def forced_from(self, call: int) -> int:
        """Calls ahead that are computed whatever happens."""
        return self._ahead[call]

    def open_from(self, call: int) -> int:
        return len(self._ahead) - 1 - call - self._ahead[call]

    def smallest(self, call: int, anchor: int, spare: int, start: float) -> float:
        """The smallest threshold that computes no more than ``spare`` of the open calls from ``call`` on."""
        ahead = [(self._paces[i], self._places[i]) for i in self.open[bisect_left(self.open, call) :]]
        place = self._places[max(anchor, 0)]
        low, high = 0.0, start + sum(pace * (at - place) for pace, at in ahead) + TINY
        near = self._last * (1 - NEAR), self._last * (1 + NEAR)  # from call to call it changes little
        if _computes_more(spare, near[0], ahead, place, start) and not _computes_more(
            spare, near[1], ahead, place, start
        ):
            low, high = near
        while high - low > PRECISION * high + TINY:  # where calls share a noise level, a threshold of 0 may do
            middle = (low + high) / 2
            if _computes_more(spare, middle, ahead, place, start):
                low = middle
            else:
                high = middle
        self._last = high
        return high


def _computes_more(spare: int, threshold: float, ahead: list[tuple[float, float]], place: float, total: float) -> bool:
    """Whether a gate with this threshold computes more than ``spare`` of the calls ``ahead``: (pace, place) of each."""
    for pace, at in ahead:
        total += pace * (at - place)
        if total >= threshold:
            spare, place, total = spare - 1, at, 0.0
            if spare < 0:
                return True
    return False
