"""The gate of a plan that somebody found on the model, in place of the law that follows from the schedule."""

from __future__ import annotations

import math

from ..call_plan import shares_of
from ..config import CacheConfig
from ..schedule import CallSequence, ModelCall
from .gates import Gate


class PlanGate(Gate):
    """Computes the calls of ``CacheConfig.plan``, as many of them as the target says.

    What is computed for another reason comes on top: warm-ups, what the user kept out of the cache, and vetoes.
    """

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(math.inf, accumulates=False)
        self.config = config
        self._sequence: CallSequence | None = None
        self._computed: frozenset[int] = frozenset()

    def add_and_check(self, error: float, step: ModelCall) -> bool:
        self.accumulated = error
        if self._sequence != step.sequence:
            self._sequence, self._computed = step.sequence, planned_calls(self.config, step)
        return math.isfinite(error) and step.call_index not in self._computed


def planned_calls(config: CacheConfig, step: ModelCall) -> frozenset[int]:
    """The calls of the sequence of ``step`` that ``CacheConfig.plan`` computes."""
    count = config.speed_target.budget(len(step.sequence.sigmas), step.schedule.steps, step.total)
    return config.plan.computed(shares_of(step.schedule, step.sequence), count)
