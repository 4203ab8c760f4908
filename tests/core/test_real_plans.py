"""Where the forecast method computes, held against plans that others searched on full-size models.

``real_plans.tsv`` has them, the only evidence of such models here.  ``budcache`` (arXiv 2606.13496) was searched for
plain reuse, ``meancache`` (2601.19961) for average velocities, ``dpcache`` (2602.22654) by dynamic programming over
pairs of computed steps; ``seacache_modal`` is what SeaCache's gate chose most often (2602.18993).  The first two are
far from this method's plan and from ``dpcache``: what a plan wants depends on how skipped steps are rebuilt, too.  The
bounds are what holds today, and a plan that comes closer to all of them is the better one.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
import torch

from dicache_core import CacheSession, SampleKey, resolve
from dicache_core.policies import POLICIES
from dicache_core.schedule import Schedule

FILE = Path(__file__).with_name("real_plans.tsv")
STEPS = 50
EVEN = [1 - i / STEPS for i in range(STEPS + 1)]


def exponential_shift(mu: float, least: float = 0.0) -> tuple[float, ...]:
    """``e^mu / (e^mu + 1/t - 1)`` of an even ``t`` from 1 to 1/50, stretched to begin its last step at ``least``."""
    shifted = [math.exp(mu) / (math.exp(mu) + 1 / t - 1) for t in EVEN[:-1]]
    stretch = (1 - least) / (1 - shifted[-1]) if least else 1.0
    return (*(1 - (1 - share) * stretch for share in shifted), 0.0)


def linear_shift(shift: float) -> tuple[float, ...]:
    """``shift t / (1 + (shift - 1) t)`` of an even ``t`` from 1 to 0."""
    return tuple(shift * t / (1 + (shift - 1) * t) for t in EVEN)


# What the plans were searched with; Qwen-Image's is approximate.
SCHEDULES = {
    "flux": exponential_shift(1.15),
    "qwen_image": exponential_shift(0.83, least=0.02),
    "hunyuan_video": linear_shift(7.0),
    "wan": linear_shift(5.0),
}
# Of their latents, of 16 channels: 1024x1024, 1328x1328, 640x480 with 65 frames, 832x480 with 65 frames.
VALUES = {
    "flux": 16 * 128 * 128,
    "qwen_image": 16 * 166 * 166,
    "hunyuan_video": 16 * 17 * 60 * 80,
    "wan": 16 * 17 * 60 * 104,
}


@dataclass(frozen=True)
class Plan:
    model: str
    method: str
    computed: tuple[int, ...]  # steps


def real_plans() -> list[Plan]:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = []
    for row in csv.DictReader(lines, delimiter="\t"):
        computed = tuple(i for i, bit in enumerate(row["bits"]) if bit == "0")
        assert (len(row["bits"]), len(computed)) == (STEPS, int(row["computed"])), row
        found.append(Plan(row["model"], row["method"], computed))
    return found


def own_plan(model: str, count: int) -> tuple[int, ...]:
    """The steps that the forecast method computes where every forecast meets, by Euler's method."""
    config = resolve(model, policy=replace(POLICIES["forecast"], target=str(count)))
    run, x = CacheSession(config, Schedule(SCHEDULES[model], values=VALUES[model])), torch.zeros(1, 1, 2, 2)
    computed = []
    for sigma in SCHEDULES[model][:-1]:
        step = run.schedule.step_at(sigma)
        cache = run.forward([SampleKey("one", 0)], step, x)
        if all(cache.decide()):
            cache.forecast()
        else:
            cache.observe(torch.ones(1, 1, 2, 2), x)
            computed.append(step.step_index)
    return tuple(computed)


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Mean over the computed calls, the first with the first and so on, of how many steps they are apart."""
    return fmean(abs(a - b) for a, b in zip(one, other, strict=True))


def distances() -> dict[str, float]:
    """By method, over all its plans."""
    by_method: dict[str, list[float]] = {}
    for plan in real_plans():
        by_method.setdefault(plan.method, []).append(distance(own_plan(plan.model, len(plan.computed)), plan.computed))
    return {method: fmean(found) for method, found in by_method.items()}


def test_the_distance_by_hand():
    assert distance((0, 1, 4), (0, 3, 5)) == 1.0


@pytest.mark.parametrize("model", SCHEDULES)
def test_schedules_fall_from_noise_to_nothing(model):
    sigmas = SCHEDULES[model]
    assert (sigmas[0], sigmas[-1], len(sigmas)) == (pytest.approx(1.0), 0.0, STEPS + 1)
    assert all(before > after for before, after in pairwise(sigmas))


def test_the_own_plan_is_as_near_to_real_ones_as_it_was():
    found = distances()
    print({method: round(value, 2) for method, value in found.items()})
    assert found["dpcache"] <= 2.0
    assert found["seacache_modal"] <= 2.5
    assert fmean([found["budcache"], found["meancache"]]) <= 5.0
