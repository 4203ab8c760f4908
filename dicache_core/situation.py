"""What a run is like, as far as it decides which tuned setting serves it, and what is told of that."""

from __future__ import annotations

import math
from dataclasses import dataclass

STEP_RANGE = 4 / 3  # a choice serves up to a third more steps, and as many fewer


@dataclass(frozen=True)
class Situation:
    """What a run is like, as far as it decides which remembered choice fits.

    Slots:
        sampler: the family of its sampler, in the words of whoever asks it.
        steps: of the whole schedule.
        patched: whether LoRAs or the like change the model's weights.
    """

    sampler: str
    steps: int
    patched: bool = False

    def serves(self, other: Situation) -> bool:
        """Whether what was found here holds there."""
        near = 1 / STEP_RANGE <= other.steps / self.steps <= STEP_RANGE
        return near and self.sampler == other.sampler

    @property
    def range(self) -> tuple[int, int]:
        """The fewest and the most steps that it serves."""
        return math.ceil(self.steps / STEP_RANGE - 1e-9), math.floor(self.steps * STEP_RANGE + 1e-9)


# What to say of a run with the preset tuned, see ``Recall``.
RECALLED = {
    "fits": "tuned for {wish!r}",
    "patched": "tuned for {wish!r}, without the LoRA",
    "sampler": "not tuned for this kind of sampler, so the preset balanced is used: run DiCache Tune with it",
    "steps": "not tuned for {steps} steps, so the preset balanced is used: run DiCache Tune with them",
}


@dataclass(frozen=True)
class Recall:
    """What became of the wish to sample with what was tuned, for the strip, the log and the report.

    Slots:
        found: "fits", "patched" (tuned without the LoRAs of this run), "sampler" (nothing for this sampler) or "steps"
            (nothing for so many); the last two sample with the default preset.
        wish: what the choice was tuned for; empty where there is none.
        steps: of the run's whole schedule.
    """

    found: str
    wish: str
    steps: int
