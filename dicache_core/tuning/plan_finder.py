"""From runs of DiCache Tune to plans: what references put out, what real runs of the same images gave, and a search."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from ..call_plan import CallPlan
from ..reasons import Key
from ..run_statistics import RunStatistics
from ..schedule import CallSequence, Schedule, same_sigma
from ..target import FEW_STEPS, Target
from .plan_search import MOST_CALLS, Computed, Growth, RealRun, SimulatedRuns, products, search_plans

MOST_BYTES = 2 << 30  # of main memory, that the outputs of one reference run may take


class NoSearch(Key):
    """Why no plan was searched."""

    SAMPLER = "sampler"
    STEPS = "steps"
    TWO_MODELS = "two models"
    MEMORY = "memory"
    OUTPUTS = "outputs"


NO_SEARCH = {
    NoSearch.SAMPLER: "plans are for samplers that add no noise, evaluate the model once a step and say what a step "
    "weighs",
    NoSearch.STEPS: f"plans are searched in runs of {FEW_STEPS + 1} to {MOST_CALLS} steps",
    NoSearch.TWO_MODELS: "two models share the schedule",
    NoSearch.MEMORY: f"the outputs of a run take more than {MOST_BYTES >> 30} GiB of main memory",
    NoSearch.OUTPUTS: "what the reference runs put out is not one image for each noise level of the sampler",
}


class PlanFinder:
    """Collects what runs show, image by image, and searches plans by it.

    Attributes:
        no_search: why nothing can be searched; ``None`` where it can.
        seconds: that searches took.
    """

    def __init__(self) -> None:
        self.no_search: NoSearch | None = None
        self.seconds = 0.0
        self._grams: list[Tensor] = []  # (B, M, M) of each reference run
        self._sigmas: list[float] = []
        self._runs: list[RealRun] = []
        self._by_target: dict[str, list[Computed]] = {}
        self._schedule: Schedule | None = None
        self._simulated: SimulatedRuns | None = None

    def add_reference(self, sigmas: Sequence[float], outputs: Sequence[Tensor]) -> None:
        """A full run: its outputs ``(B, C, ...)``, one for each call, of which no more than their products is kept."""
        if not FEW_STEPS < len(outputs) <= MOST_CALLS:
            self.no_search = NoSearch.STEPS
        if self.no_search is None:
            self._sigmas = list(sigmas)
            self._grams.append(products(outputs))

    def add_run(self, target: str, run: RunStatistics, first_image: int, errors: Sequence[float]) -> None:
        """A run of the forecast method at a target, of images from number ``first_image`` on.

        ``errors`` are the mean squares of what their latents differ by from the reference's.
        """
        if self.no_search is None:
            self._check(run)
        if self.no_search is not None:
            return
        self._schedule = run.schedule
        rows = run.computed_calls()
        self._by_target.setdefault(target, []).extend(rows.values())
        found = [RealRun(first_image + row, rows[row], error) for row, error in enumerate(errors)]
        self._runs += [run for run in found if math.isfinite(run.error)]

    def find(self, target: str) -> list[CallPlan]:
        """Plans that may be closer than what the method itself computes at this target, in the order to try them."""
        if self.no_search is not None or self._schedule is None:
            return []
        begun = time.perf_counter()
        schedule, sequence = self._schedule, self._sequence
        count = Target.parse(target, adaptive=True).budget(len(sequence.sigmas), schedule.steps, schedule.total)
        known = [computed for computed in self._by_target.get(target, ()) if len(computed) == count]
        if not known:  # skips were cancelled in all of them, and would be in others too
            return []
        if self._simulated is None:
            self._simulated = SimulatedRuns(torch.cat(self._grams), schedule, sequence)
        found = search_plans(self._simulated, known[0], Growth.measured(self._simulated, self._runs))
        self.seconds += time.perf_counter() - begun
        return [CallPlan.of(computed, schedule, sequence) for computed in found]

    @property
    def _sequence(self) -> CallSequence:
        return self._schedule.sequences[0]

    def _check(self, run: RunStatistics) -> None:
        context, sequences = run.run_context, run.schedule.sequences
        plain = context.may_follow_plans and len(sequences) == 1
        if not plain or not sequences[0].weights or run.schedule.predicts_denoised:
            self.no_search = NoSearch.SAMPLER
        elif not _are(self._sigmas, sequences[0].sigmas) or any(map(same_sigma, self._sigmas, self._sigmas[1:])):
            self.no_search = NoSearch.OUTPUTS


def _are(found: Sequence[float], expected: Sequence[float]) -> bool:
    return len(found) == len(expected) and all(map(same_sigma, found, expected))
