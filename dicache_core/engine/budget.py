"""How many calls of a sequence a target lets a run compute, and how many of them are left."""

from __future__ import annotations

from itertools import accumulate

from ..config import CacheConfig
from ..schedule import CallSequence, ModelCall


class Budget:
    """The computed calls that are left to spend.

    The target is for a whole schedule of steps; a run's own share of it is that of its calls, counted from the first
    one that is seen: samplers of higher order make several calls per step, and a cond may come in late.

    Attributes:
        last_computed: call_index, -1 before any.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.last_computed = -1
        self._calls: SequenceCalls | None = None
        self._left = 0  # of what may be computed, closed calls included

    def calls_of(self, step: ModelCall) -> SequenceCalls:
        """The calls of the sequence of ``step``; another sequence than before has a budget of its own."""
        if self._calls is None or self._calls.sequence != step.sequence:
            self._calls = SequenceCalls(self.config, step)
            self._left = self._calls.budget
        return self._calls

    def left_at(self, step: ModelCall) -> int:
        """What may still be computed of the open calls from ``step`` on."""
        calls = self.calls_of(step)
        return self._left - calls.closed_from(step.call_index)

    def open_from(self, step: ModelCall) -> int:
        """How many open calls there are from ``step`` on."""
        calls = self.calls_of(step)
        return len(calls.open) - step.call_index - calls.closed_from(step.call_index)

    def on_veto(self, step: ModelCall) -> None:
        """``step`` was not to be spent: it comes on top, so that none is missing where it was planned."""
        self.calls_of(step)
        self._left += 1

    def on_computed(self, step: ModelCall) -> None:
        """``step`` was computed."""
        self.calls_of(step)
        if step.planned or step.call_index != self.last_computed:  # an unknown sampler may call twice at one step
            self._left -= 1
        self.last_computed = step.call_index


class SequenceCalls:
    """The calls of one sequence.

    Attributes:
        sequence: whose they are.
        calls: all of them.
        open: of each, whether it may be skipped.
        budget: how many may be computed from the first one seen on.
    """

    def __init__(self, config: CacheConfig, first: ModelCall) -> None:
        self.sequence: CallSequence = first.sequence
        self.calls = [first.at(call) for call in range(len(self.sequence.sigmas))]
        self.open = [config.block_reason(call) is None for call in self.calls]
        self._closed = list(accumulate((not known for known in reversed(self.open)), initial=0))[::-1]
        # What people keep out of the cache is theirs: a speed is for the rest, and a count is taken at its word.
        kept_out = 0 if config.speed_target.count else sum(map(config.excludes, self.calls[first.call_index :]))
        inside = len(self.calls) - first.call_index - kept_out
        self.budget = kept_out + config.speed_target.budget(inside, first.schedule.steps, first.total)

    def closed_from(self, call: int) -> int:
        """How many calls from this one on are computed whatever happens."""
        return self._closed[call]
