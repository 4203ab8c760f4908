"""What a run is like, as far as it decides which tuned setting serves it, and what is told of that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..reasons import Key

STEP_RANGE = 4 / 3  # a choice serves up to a third more steps, and as many fewer


class SamplerFamily(Key):
    """Samplers of a family are alike to what can be skipped, whatever their names; the value is a key of kept files."""

    DETERMINISTIC = "deterministic"
    FROM_THE_IMAGE = "from_the_image"  # starts each step from the denoised image
    STOCHASTIC = "stochastic"
    UNKNOWN = "unknown"  # another pack's, which could not be asked
    ADAPTIVE = "adaptive"


FAMILY_TEXTS = {
    SamplerFamily.DETERMINISTIC: "adds no noise",
    SamplerFamily.FROM_THE_IMAGE: "starts each step from the image",
    SamplerFamily.STOCHASTIC: "adds noise",
    SamplerFamily.UNKNOWN: "of another pack",
    SamplerFamily.ADAPTIVE: "chooses its steps",
}


@dataclass(frozen=True)
class RunContext:
    """What a run is like, as far as it decides which remembered choice fits.

    Attributes:
        sampler: the family of its sampler.
        steps: of the whole schedule.
        patched: whether LoRAs or the like change the model's weights.
        begin, end: the part of the whole schedule that is sampled, in [0, 1]: image to image with denoise 0.2 begins at
            0.8, the first of two experts ends before 1.
        calls: of the model in a step, in the mean.
    """

    sampler: SamplerFamily
    steps: int
    patched: bool = False
    begin: float = 0.0
    end: float = 1.0
    calls: int = 1

    def serves(self, other: RunContext) -> bool:
        """Whether what was found here holds there."""
        return self.samples_like(other) and self.is_near(other) and self.covers(other)

    @property
    def may_follow_plans(self) -> bool:
        """Whether it adds no noise and evaluates the model once a step."""
        return self.sampler is SamplerFamily.DETERMINISTIC and self.calls == 1

    def samples_like(self, other: RunContext) -> bool:
        """Whether its sampler is of the same kind."""
        return (self.sampler, self.calls) == (other.sampler, other.calls)

    @property
    def sampler_text(self) -> str:
        """What kind of sampler it is, in words."""
        text = FAMILY_TEXTS[self.sampler]
        return f"{text}, {self.calls} calls a step" if self.calls > 1 else text

    def is_near(self, other: RunContext) -> bool:
        """Whether its schedule has about as many steps."""
        return 1 / STEP_RANGE <= other.steps / self.steps <= STEP_RANGE

    def covers(self, other: RunContext) -> bool:
        """Whether it saw the part that the other one samples, or all but a little of it: not the other way round."""
        more = (STEP_RANGE - 1) * (self.end - self.begin) + 1e-9
        return self.begin - more <= other.begin and other.end <= self.end + more

    def distance(self, other: RunContext) -> float:
        """How unlike two situations of one kind of sampler are; 0 for the same steps of the same schedule."""
        parts = abs(self.begin - other.begin) + abs(self.end - other.end)
        return abs(math.log(self.steps / other.steps)) + parts

    @property
    def range(self) -> tuple[int, int]:
        """The fewest and the most steps that it serves."""
        return math.ceil(self.steps / STEP_RANGE - 1e-9), math.floor(self.steps * STEP_RANGE + 1e-9)


# What to say of a run with the preset tuned, see ``TunedMatch``.
TUNED_MATCH_TEXTS = {
    "fits": "tuned for {goal!r}",
    "patched": "tuned for {goal!r}, without the LoRA",
    "model": "not tuned for this model, so balanced is used. Run DiCache Tune with this model",
    "sampler": "not tuned for this kind of sampler, so balanced is used. Run DiCache Tune with this sampler",
    "steps": "not tuned for {steps} steps, so balanced is used. Run DiCache Tune with {steps} steps",
    "part": "not tuned for this denoise, so balanced is used. Run DiCache Tune with this denoise",
}

# What to say of a run on a host with a compiler of its own that records and replays a model's blocks.
COMPILER = {
    "off": "the Comfy Compiler was off in this run, because this method looks at the model's blocks",
    "forecast": "the forecast method was used, because this method looks at the model's blocks and the Comfy Compiler "
    "cannot be switched off here",
}


@dataclass(frozen=True)
class TunedMatch:
    """What became of the wish to sample with what was tuned, for the strip, the log and the report.

    Attributes:
        found: "fits" or "patched" (tuned without the LoRAs of this run); the others sample with the default preset:
            "model" (nothing for this model), "sampler" (nothing for this kind of sampler), "steps" (nothing for so
            many) or "part" (nothing for this part of the schedule, as of another denoise).
        goal: what the choice was tuned for; empty where there is none.
        steps: of the run's whole schedule.
    """

    found: str
    goal: str
    steps: int

    @property
    def text(self) -> str:
        return TUNED_MATCH_TEXTS[self.found].format(goal=self.goal, steps=self.steps)
