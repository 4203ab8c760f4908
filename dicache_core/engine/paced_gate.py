"""The gate of a rule that knows its errors beforehand: the plan at which skipping costs least in all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..methods.base import PacedIndicator
from ..schedule import CallSequence, ModelCall
from .budget import Budget, SequenceCalls
from .gates import Gate

FARTHEST = 100  # calls from one computed call to the next, where very many are computed of very many:
FEW_PLANS = 50_000  # as long as so few pairs of them and of what is left are looked at from each call


class PacedGate(Gate):
    """Computes as many calls as the target says, so that the errors of the others add up to the least.

    All plans of a sequence are in one table: from any call that was computed, with any number of calls left, which is
    computed next.  So a veto only moves the run to another place of it.
    """

    def __init__(self, config: CacheConfig, indicator: PacedIndicator) -> None:
        super().__init__(math.inf)
        self.indicator = indicator
        self.budget = Budget(config)
        self._sequence: CallSequence | None = None
        self._next: list[list[int]] = []

    def add_and_check(self, error: float, step: ModelCall) -> bool:
        if not math.isfinite(error):
            return False
        self.accumulated += error
        self._plan(step)
        row = self._next[max(self.budget.last_computed, 0)]
        return step.call_index < row[min(max(self.budget.left_at(step), 0), len(row) - 1)]

    def on_veto(self, step: ModelCall) -> None:
        self.budget.on_veto(step)

    def on_computed(self, step: ModelCall) -> None:
        self._plan(step)
        self.budget.on_computed(step)
        self.accumulated = 0.0

    def _plan(self, step: ModelCall) -> None:
        """Have the table of the sequence of ``step``: made at its first call, where there is time."""
        calls = self.budget.calls_of(step)
        if self._sequence != calls.sequence:
            self._sequence = calls.sequence
            self._next = planned_calls(calls, self.indicator, self.budget.left_at(step))


def planned_calls(calls: SequenceCalls, indicator: PacedIndicator, most: int) -> list[list[int]]:
    """``[b][k]``: with call ``b`` computed last and ``k`` open calls left to compute, ``most`` at the most, which is
    computed next."""
    return cheapest(gap_errors(calls.calls, indicator), calls.open, max(0, min(most, sum(calls.open))))


def gap_errors(calls: Sequence[ModelCall], indicator: PacedIndicator) -> Tensor:
    """``(N, N)`` float64: what skipping all calls between calls ``b`` and ``c`` costs, as ``expected_error`` says."""
    position = torch.tensor([indicator.position(call) for call in calls], dtype=torch.float64, device="cpu")
    pace = torch.tensor([indicator.pace(call) for call in calls], dtype=torch.float64, device="cpu")
    errors = pace * (position - position[:, None]).clamp(min=0.0) ** indicator.power
    return errors.triu(1).cumsum(1).roll(1, 1).triu(1)  # up to c, but without it


def cheapest(errors: Tensor, is_open: Sequence[bool], most: int) -> list[list[int]]:
    """``[b][k]`` as in ``planned_calls``, from ``errors`` ``(N, N)`` of gaps, by dynamic programming from the end.

    Closed calls are computed whatever happens and are not counted; the last call is one.
    """
    last, farthest = len(is_open) - 1, max(FARTHEST, FEW_PLANS // (most + 1))
    ahead = errors.new_zeros(last + 1, most + 1)  # what is yet to come where c is computed next with k left before it
    following = [[last] * (most + 1) for _ in is_open]
    closed = last
    for b in range(last - 1, -1, -1):
        end = min(closed, b + farthest)
        cost, choice = (errors[b, b + 1 : end + 1, None] + ahead[b + 1 : end + 1]).min(0)
        following[b] = (choice + b + 1).tolist()
        if is_open[b]:
            ahead[b, 0], ahead[b, 1:] = math.inf, cost[:-1]
        else:
            ahead[b], closed = cost, b
    return following
