"""Whether an error may be skipped, on host numbers only (DiCache, arXiv 2508.17356, section 3.2), and at what speed.

Who asks, and the veto that follows, is in ``stream_group``.
"""

from __future__ import annotations

import math

from ..config import CacheConfig
from ..methods.base import Indicator
from ..schedule import ModelCall
from .budget import Budget


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


class SteeredGate(Gate):
    """A gate that computes as many calls as the target says, where the measured error is largest.

    The sum of errors is shared out: with ``n`` computed calls left to spend on the open calls ahead, the threshold is
    the one that would spend them exactly if errors went on as expected (``Indicator.expected_error``) times the mean of
    ``measured / expected`` so far.  Every call is taken to be as bad as the next, so it is the middle of all thresholds
    that do, where a wrong guess does the least.  What a sum had above the threshold is carried over to the next one, so
    that thresholds between two whole steps (every 2.5th step) do what they say.
    """

    def __init__(self, config: CacheConfig, indicator: Indicator) -> None:
        super().__init__(math.inf, indicator.accumulates)
        self.indicator = indicator
        self.budget = Budget(config)
        self.carry_over = 0.0
        self.ratio_sum = 0.0  # sum of measured / expected over the open calls so far
        self.ratio_count = 0  # how many these are

    def add_and_check(self, error: float, step: ModelCall) -> bool:
        if not math.isfinite(error):
            return False
        calls_left, open_ahead = self.budget.left_at(step), self.budget.open_from(step)
        expected = self.indicator.expected_error(step, self.budget.last_computed)
        if expected > 0:
            self.ratio_sum, self.ratio_count = self.ratio_sum + error / expected, self.ratio_count + 1
        before = self.accumulated if self.accumulates else self.carry_over
        self.accumulated = before + error
        if calls_left <= 0 or calls_left >= open_ahead:
            return calls_left <= 0
        unit = self.ratio_sum / self.ratio_count if self.ratio_count else 1.0
        total = (before / unit if unit > 0 else 0.0) + open_ahead
        self.threshold = unit * (total / calls_left + total / (calls_left + 1)) / 2
        return self.accumulated < self.threshold

    def on_veto(self, step: ModelCall) -> None:
        self.budget.on_veto(step)

    def on_computed(self, step: ModelCall) -> None:
        self.budget.on_computed(step)
        self.carry_over = min(max(self.accumulated - self.threshold, 0.0), self.threshold)
        self.accumulated = self.carry_over
