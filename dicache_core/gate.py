"""The decision itself, on host numbers only (DiCache, arXiv 2508.17356, section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Gate:
    """``E += error``; reuse while ``E < threshold``, else compute and start again from ``E = 0``.

    ``accumulates=False`` judges every error alone, for indicators that already compare with the last computed step.
    """

    threshold: float
    accumulates: bool = True
    accumulated: float = 0.0

    def admits(self, error: float) -> bool:
        """Whether a step with this error may be reused; the error counts from then on."""
        self.accumulated = self.accumulated + error if self.accumulates else error
        return math.isfinite(self.accumulated) and self.accumulated < self.threshold

    def computed(self) -> None:
        """A step was computed: nothing is owed any more."""
        self.accumulated = 0.0
