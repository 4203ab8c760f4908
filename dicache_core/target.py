"""What a speed target means: how many steps of a schedule are computed."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

FEW_STEPS = 8  # up to here a model is most likely distilled, and a skip has to be earned: see ``AuditedPredictor``
MANY_STEPS = 2 * FEW_STEPS  # from here on each is a short way: what a sampler takes back with the next counts little
FEWEST_STEPS = 3  # up to here nothing is left to skip between two computed steps and the last
ENOUGH = 8  # computed steps: a forecast between fewer reaches far, and fewer steps would do as well
LEAST_SHARE = 3 / 4  # of a schedule too short for that many
ROUNDING = 1e-9  # 20 / (4 / 3) is not quite 15
LATENT_ERROR_PER_SPEED = 0.3  # what a speed may cost, per time that it is faster


@dataclass(frozen=True)
class Target:
    """How many steps are computed: ``total / factor`` of a whole schedule, or ``count`` of them.

    A factor that is ``adaptive`` is a speed up to which is skipped, and never beyond it, as long as the run bears the
    ``allowed_latent_error`` and enough steps are computed: eight of them, or three quarters of a shorter schedule.  A
    count is taken at its word.
    """

    factor: float = 1.0
    count: int = 0
    adaptive: bool = False

    @classmethod
    @lru_cache  # asked for at every step
    def parse(cls, text: str, adaptive: bool = False) -> Target:
        """``"2x"`` computes half of the steps, ``"12"`` twelve of them.

        Raises:
            ValueError: for anything else.
        """
        words = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*x\s*|\s*(\d+)\s*", text.lower())
        if words and words[1] and float(words[1]) >= 1:
            return cls(factor=float(words[1]), adaptive=adaptive)
        if words and words[2] and int(words[2]) >= 1:
            return cls(count=int(words[2]))
        raise ValueError(
            f"target is {text!r}: write a speed of 1x or more such as 1.5x, 2x or 3x, or a number of computed steps "
            "such as 12"
        )

    def computed(self, total: int) -> int:
        """Computed steps of a schedule of ``total`` steps, at least one."""
        if self.adaptive:
            return max(self._at_least(total), self._enough(total))
        return min(total, self.count or max(1, round(total / self.factor)))

    def budget(self, calls: int, steps: int, total: int) -> int:
        """Computed calls of ``calls`` that a run of ``steps`` steps makes, of a whole schedule of ``total``.

        A factor is for the whole schedule, a count for this run.
        """
        if self.adaptive:
            return max(self._at_least(calls), round(calls * self._enough(total) / total))
        return round(self.share(steps, total) * calls)

    def allowed_latent_error(self, total: int) -> float:
        """The latent error that skipping may cause in a schedule of ``total`` steps, see ``ErrorEstimator``.

        Of the fewest steps each is a large part of the image, and little is built on what is off.
        """
        if not self.adaptive:
            return math.inf
        return LATENT_ERROR_PER_SPEED * (self._speed(total) - 1) * max(1.0, FEW_STEPS / total) ** 2

    def _at_least(self, calls: int) -> int:
        """So many of them that no more is skipped than the factor says."""
        return math.ceil(calls / self.factor - ROUNDING)

    def _enough(self, total: int) -> int:
        return min(total, max(1, round(min(ENOUGH, LEAST_SHARE * total))))

    def _speed(self, total: int) -> float:
        return min(self.factor, total / min(ENOUGH, LEAST_SHARE * total))

    def share(self, steps: int, total: int) -> float:
        """Share of the calls that is computed in a run of ``steps`` steps of a whole schedule of ``total``.

        A factor is for the whole schedule, a count for this run.
        """
        whole = steps if self.count else total
        return self.computed(whole) / whole
