"""What a speed target means: how many steps of a schedule are computed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

FEW_STEPS = 8  # up to here a model is most likely distilled, and every step carries too much to be forecast


@dataclass(frozen=True)
class Target:
    """How many steps are computed: ``total / factor`` of a whole schedule, or ``count`` of them.

    A factor asks for nothing in schedules of up to ``FEW_STEPS`` steps; a count is taken at its word.
    """

    factor: float = 1.0
    count: int = 0

    @classmethod
    @lru_cache  # asked for at every step
    def parse(cls, text: str) -> Target:
        """``"2x"`` computes half of the steps, ``"12"`` twelve of them; a ``ValueError`` for anything else."""
        words = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*x\s*|\s*(\d+)\s*", text.lower())
        if words and words[1] and float(words[1]) >= 1:
            return cls(factor=float(words[1]))
        if words and words[2] and int(words[2]) >= 1:
            return cls(count=int(words[2]))
        raise ValueError(
            f"target is {text!r}: write a speed of 1x or more such as 1.5x, 2x or 3x, or a number of computed steps "
            "such as 12"
        )

    def computed(self, total: int) -> int:
        """Computed steps of a schedule of ``total`` steps, at least one."""
        if not self.count and total <= FEW_STEPS:
            return total
        return min(total, self.count or max(1, round(total / self.factor)))

    def share(self, steps: int, total: int) -> float:
        """Share of the calls that is computed in a run of ``steps`` steps of a whole schedule of ``total``.

        A factor is for the whole schedule, a count for this run.
        """
        whole = steps if self.count else total
        return self.computed(whole) / whole
