"""The decision itself, on host numbers only (DiCache, arXiv 2508.17356, section 3.2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .schedule import Step


class Gate:
    """``E += error``; reuse while ``E < threshold``, else compute and start again from ``E = 0``.

    ``accumulates=False`` judges every error alone, for indicators that already compare with the last computed step.
    """

    def __init__(self, threshold: float, accumulates: bool = True) -> None:
        self.threshold = threshold
        self.accumulates = accumulates
        self.accumulated = 0.0

    def admits(self, error: float, step: Step) -> bool:
        """Whether ``step`` with this error may be reused; the error counts from then on."""
        self.accumulated = self.accumulated + error if self.accumulates else error
        return math.isfinite(self.accumulated) and self.accumulated < self.threshold

    def vetoed(self, step: Step) -> None:
        """``step``, which this gate admitted, is computed all the same."""

    def computed(self, step: Step) -> None:
        """``step`` was computed: nothing is owed any more."""
        self.accumulated = 0.0
