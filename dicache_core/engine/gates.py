"""Whether an error may be skipped, on host numbers only (DiCache, arXiv 2508.17356, section 3.2), and at what speed.

Who asks, and the veto that follows, is in ``stream_group``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

from ..config import CacheConfig
from ..methods.base import Indicator, PacedIndicator
from ..schedule import ModelCall


class Gate:
    """``E += error``; reuse while ``E < threshold``, else compute and start again from ``E = 0``.

    ``accumulates=False`` judges every error alone, for indicators that already compare with the last computed step.
    """

    def __init__(self, threshold: float, accumulates: bool = True) -> None:
        self.threshold = threshold
        self.accumulates = accumulates
        self.accumulated = 0.0

    def add_and_check(self, error: float, step: ModelCall) -> bool:
        """Add the error of ``step``; whether it may still be reused."""
        self.accumulated = self.accumulated + error if self.accumulates else error
        return math.isfinite(self.accumulated) and self.accumulated < self.threshold

    def on_veto(self, step: ModelCall) -> None:
        """``step``, which this gate let pass, is computed all the same; nothing changes for a gate without a plan."""

    def on_computed(self, step: ModelCall) -> None:
        """``step`` was computed: the sum of errors starts again."""
        self.accumulated = 0.0


PRECISION = 1e-6  # of a planned threshold, relative
NEAR = 1e-3  # of a threshold, relative: where the next one is looked for first
TINY = 1e-9  # where every error ahead is expected to be 0


class SteeredGate(Gate):
    """A gate that computes as many calls as the target says, where the error is largest.

    The sum of errors is shared out: with ``n`` computed calls left to spend on the open calls ahead, the threshold is
    the one that would spend them exactly if errors went on as expected (``Indicator.expected_error``) times the mean of
    ``measured / expected`` so far.  What a sum had above the threshold is carried over to the next one, so that
    thresholds between two whole steps (every 2.5th step) do what they say; a rule that knows its errors exactly is
    planned exactly and needs no such thing.

    The target is for a whole schedule of steps; the gate's own share of it is that of its calls, counted from the first
    one that it sees: samplers of higher order make several calls per step, and a cond may come in late.
    """

    def __init__(self, config: CacheConfig, indicator: Indicator) -> None:
        super().__init__(math.inf, indicator.accumulates)
        self.config = config
        self.indicator = indicator
        self._paced = isinstance(indicator, PacedIndicator)
        self.plan: Plan | None = None
        self.calls_used = 0  # computed calls so far
        self.last_computed = -1  # the last computed call
        self.carry_over = 0.0
        self.ratio_sum = 0.0  # sum of measured / expected over the open calls so far
        self.ratio_count = 0  # how many these are

    def add_and_check(self, error: float, step: ModelCall) -> bool:
        if not math.isfinite(error):
            return False
        plan = self._plan_from(step)
        expected = self.indicator.expected_error(step, self.last_computed)
        if expected > 0:
            self.ratio_sum, self.ratio_count = self.ratio_sum + error / expected, self.ratio_count + 1
        before = self.accumulated if self.accumulates else self.carry_over
        self.accumulated = before + error
        calls_left = plan.budget - self.calls_used - plan.forced_from(step.call_index)
        if calls_left <= 0 or calls_left >= plan.open_from(step.call_index):
            return calls_left <= 0
        unit = self.ratio_sum / self.ratio_count if self.ratio_count else 1.0
        start = before / unit if unit > 0 else 0.0
        self.threshold = unit * self._threshold(step, calls_left, start)
        return self.accumulated < self.threshold

    def on_veto(self, step: ModelCall) -> None:
        """The call was not to be spent: it comes on top, so that none is missing where it was planned."""
        self._plan_from(step).budget += 1

    def on_computed(self, step: ModelCall) -> None:
        self._plan_from(step)
        if step.planned or step.call_index != self.last_computed:  # an unknown sampler may call twice at one step
            self.calls_used += 1
        self.carry_over = self._carry(self.accumulated, self.threshold) if math.isfinite(self.threshold) else 0.0
        self.accumulated = self.carry_over
        self.last_computed = step.call_index

    def _plan_from(self, step: ModelCall) -> Plan:
        if self.plan is None or self.plan.sequence != step.sequence:
            self.plan, self.calls_used = Plan(self.config, self.indicator, step), 0
        return self.plan

    def _threshold(self, step: ModelCall, calls_left: int, start: float) -> float:
        """A threshold that computes ``calls_left`` of the open calls ahead.

        A rule that knows its errors beforehand gets the smallest, which keeps the worst skipped step as good as can be;
        one that only guesses them, every call as bad as the next, gets the middle of all that do, where a wrong guess
        does the least.
        """
        if self._paced:
            return self.plan.smallest(step.call_index, self.last_computed, calls_left, start)
        total = start + self.plan.open_from(step.call_index)
        return (total / calls_left + total / (calls_left + 1)) / 2

    def _carry(self, total: float, threshold: float) -> float:
        """What is left of a sum when its step is computed."""
        if self._paced or not math.isfinite(total):
            return 0.0
        return min(max(total - threshold, 0.0), threshold)


class Plan:
    """The calls of one sequence from ``first`` on: which are open, and how many may be computed in all."""

    def __init__(self, config: CacheConfig, indicator: Indicator, first: ModelCall) -> None:
        self.sequence = first.sequence
        calls = [first.at(call) for call in range(len(self.sequence.sigmas))]
        closed = [config.block_reason(call) is not None for call in calls]
        self.open = [number for number, shut in enumerate(closed) if not shut]
        self._ahead = list(accumulate(map(int, reversed(closed)), initial=0))[::-1]  # closed calls from each one on
        # What people keep out of the cache is theirs: a speed is for the rest, and a count is taken at its word.
        kept_out = 0 if config.speed_target.count else sum(map(config.excludes, calls[first.call_index :]))
        inside = len(calls) - first.call_index - kept_out
        self.budget = kept_out + config.speed_target.budget(inside, first.schedule.steps, first.total)
        paced = isinstance(indicator, PacedIndicator)
        self._log_snrs = [call.log_snr for call in calls] if paced else []
        self._last = 0.0  # the threshold found last
        self._paces = [indicator.pace(call) for call in calls] if paced else []

    def forced_from(self, call: int) -> int:
        """Calls ahead that are computed whatever happens."""
        return self._ahead[call]

    def open_from(self, call: int) -> int:
        return len(self._ahead) - 1 - call - self._ahead[call]

    def smallest(self, call: int, last_computed: int, calls_left: int, start: float) -> float:
        """The smallest threshold that computes no more than ``calls_left`` of the open calls from ``call`` on."""
        ahead = [(self._paces[i], self._log_snrs[i]) for i in self.open[bisect_left(self.open, call) :]]
        position = self._log_snrs[max(last_computed, 0)]
        low, high = 0.0, start + sum(pace * (at - position) for pace, at in ahead) + TINY
        near = self._last * (1 - NEAR), self._last * (1 + NEAR)  # from call to call it changes little
        if _computes_more(calls_left, near[0], ahead, position, start) and not _computes_more(
            calls_left, near[1], ahead, position, start
        ):
            low, high = near
        while high - low > PRECISION * high + TINY:  # where calls share a noise level, a threshold of 0 may do
            middle = (low + high) / 2
            if _computes_more(calls_left, middle, ahead, position, start):
                low = middle
            else:
                high = middle
        self._last = high
        return high


def _computes_more(
    calls_left: int, threshold: float, ahead: list[tuple[float, float]], position: float, total: float
) -> bool:
    """Whether a gate with this threshold computes over ``calls_left`` of the calls ``ahead``, (pace, log-SNR) each."""
    for pace, at in ahead:
        total += pace * (at - position)
        if total >= threshold:
            calls_left, position, total = calls_left - 1, at, 0.0
            if calls_left < 0:
                return True
    return False
