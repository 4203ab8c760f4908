"""Where a forward pass stands in the sampling schedule, found from its sigma and never by counting calls."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Samplers recompute sigmas in float32 (sigma * s_in, exp(-log sigma)), so equal sigmas differ in the last digits.
SIGMA_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Step:
    """One interval of the schedule, ``sigmas[index] >= sigma > sigmas[index + 1]``.

    Slots:
        index: position in this run, from 0.
        place: position in the whole schedule, from 0; larger than ``index`` when a run starts mid-schedule.
        total: steps of the whole schedule.
        sigma: noise level of this forward pass, in the model's own units.
        final: whether this is the last interval of the run.
        sigmas: the whole run's schedule, its end included.
    """

    index: int
    place: int
    total: int
    sigma: float
    final: bool
    sigmas: tuple[float, ...]

    @property
    def progress(self) -> float:
        """Share of the whole schedule that lies before this step, in [0, 1)."""
        return self.place / self.total

    @property
    def next_sigma(self) -> float:
        """Where this interval ends."""
        return self.sigmas[self.index + 1]

    @property
    def time(self) -> float:
        """``index`` and the part of the interval that is already behind: a time that grows by 1 per step."""
        start, end = self.sigmas[self.index], self.next_sigma
        return self.index + (start - self.sigma) / (start - end) if start > end else float(self.index)

    def at(self, index: int) -> Step:
        """Another step of the same run."""
        final = index == len(self.sigmas) - 2
        return Step(index, self.place + index - self.index, self.total, self.sigmas[index], final, self.sigmas)


@dataclass(frozen=True)
class Schedule:
    """The sigmas of one sampling run, falling, with the last one (usually 0) as its end.

    ``steps_before`` and ``steps_after`` say how many steps of the whole schedule other runs take, so that a second
    expert that starts mid-schedule knows that the structure of the picture is already settled.
    """

    sigmas: tuple[float, ...]
    steps_before: int = 0
    steps_after: int = 0

    def __post_init__(self) -> None:
        if len(self.sigmas) < 2:
            raise ValueError(f"a schedule needs at least two sigmas (one step), got {len(self.sigmas)}")

    @property
    def steps(self) -> int:
        """Steps of this run."""
        return len(self.sigmas) - 1

    @property
    def total(self) -> int:
        """Steps of the whole schedule."""
        return self.steps_before + self.steps + self.steps_after

    def step_at(self, sigma: float) -> Step:
        """The step that ``sigma`` falls into; samplers also evaluate between and slightly above schedule points."""
        index = self.steps - 1
        for i, point in enumerate(self.sigmas):
            if math.isclose(sigma, point, rel_tol=SIGMA_TOLERANCE, abs_tol=1e-8):
                index = i
                break
            if sigma > point:
                index = i - 1
                break
        index = min(max(index, 0), self.steps - 1)
        place = self.steps_before + index
        return Step(index, place, self.total, sigma, final=index == self.steps - 1, sigmas=self.sigmas)
