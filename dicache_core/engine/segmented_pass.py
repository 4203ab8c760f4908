"""One call of the model whose stack is decided in several segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..reasons import Reason
from ..run_statistics import SampleKey
from .decision import Decision
from .forward_pass import ForwardPass


class SegmentedPass:
    """One ``ForwardPass`` per segment, in the order in which they run, and what is decided in all of them."""

    def __init__(self, keys: list[SampleKey], passes: Sequence[ForwardPass]) -> None:
        self.keys = keys
        self.passes = passes
        first, *_ = passes
        self.run, self.histories, self.step = first.run, first.histories, first.step

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Per sample, with the share of the stack's blocks that ran; empty where no segment was decided.

        A sample is reused where any segment of it is, and that one's reason and numbers are told.
        """
        decided = [passed for passed in self.passes if passed.decisions]
        return tuple(self._together(row, decided) for row in range(len(self.keys))) if decided else ()

    def bypass(self, reason: Reason) -> None:
        """Compute all of this call and learn nothing of it."""
        for passed in self.passes:
            passed.bypass(reason)

    def check_completed(self) -> None:
        """As ``ForwardPass.check_completed``."""
        for passed in self.passes:
            passed.check_completed()

    def _together(self, row: int, decided: Sequence[ForwardPass]) -> Decision:
        rows = [(passed.segment, passed.decisions[row]) for passed in decided]
        skipped = sum(segment.blocks for segment, decision in rows if decision.reuse)
        told = next((decision for _, decision in rows if decision.reuse), rows[0][1])
        return replace(told, share=1 - skipped / self.run.shape.blocks)
