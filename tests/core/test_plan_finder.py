"""From recorded runs to plans: real runs of the engine on a toy model, and what keeps a search from being made."""

from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from dicache_core import CacheSession, RunContext, RunStatistics, SampleKey
from dicache_core.call_plan import CallPlan
from dicache_core.presets import own_config
from dicache_core.schedule import CallSequence, Schedule
from dicache_core.timing import Stopwatch
from dicache_core.tuning.context import SamplerFamily
from dicache_core.tuning.plan_finder import NoSearch, PlanFinder

SIGMAS = tuple(1 - i / 20 for i in range(21))
WHOLE = Schedule(SIGMAS)
KNOWN = replace(WHOLE, sequences=(CallSequence(SIGMAS[:-1], tuple(b - a for a, b in pairwise(SIGMAS))),))
PLAIN = RunContext(SamplerFamily.DETERMINISTIC, 20)


@dataclass
class Toy:
    """Two images whose outputs turn round at the eighth step, whatever ``x`` is."""

    images: int = 2

    def output(self, step: int) -> torch.Tensor:
        """``(2, 1, 2, 2)``."""
        value = WHOLE.log_snr(SIGMAS[step]) * (1.0 if step < 8 else -2.0)
        return torch.stack([torch.full((1, 2, 2), value * (1 + image)) for image in range(self.images)])

    def sample(self, target: str) -> tuple[RunStatistics, torch.Tensor]:
        """By Euler's method: the run and its latents."""
        session, x = CacheSession(own_config(target, "flux"), KNOWN), torch.ones(self.images, 1, 2, 2)
        session.statistics.run_context = PLAIN
        for number, sigma in enumerate(SIGMAS[:-1]):
            step = session.schedule.step_at(sigma)
            cache = session.forward([SampleKey("one", row) for row in range(self.images)], step, x)
            reuse = cache.decide()
            v = cache.forecast() if all(reuse) else cache.observe(self.output(number).clone(), torch.ones_like(x))
            session.close(cache, Stopwatch(torch.device("cpu")))
            x = x + (SIGMAS[number + 1] - sigma) * v
        return session.statistics, x


@pytest.fixture
def toy():
    return Toy()


def finder_of(toy: Toy) -> PlanFinder:
    finder = PlanFinder()
    finder.add_reference(SIGMAS[:-1], [toy.output(step).half() for step in range(20)])
    return finder


def test_a_plan_is_found_where_real_runs_left_something_to_win(toy):
    finder = finder_of(toy)
    _, reference = toy.sample("1x")
    run, samples = toy.sample("5")
    finder.add_run("5", run, 0, (samples - reference).square().flatten(1).mean(1).tolist())
    found = finder.find("5")
    assert finder.no_search is None
    assert finder.seconds > 0
    assert found
    assert all(isinstance(plan, CallPlan) and len(plan.shares) == 5 and plan.calls == 20 for plan in found)


def test_a_target_that_nothing_was_tried_at_has_no_plan(toy):
    finder = finder_of(toy)
    assert finder.find("5") == []
    run, _ = toy.sample("5")
    finder.add_run("5", run, 0, [0.1, 0.1])
    assert finder.find("6") == []


def test_where_skips_were_cancelled_no_plan_is_asked_for(toy):
    """More calls than the target says: a plan of as many as it says would be cancelled, too."""
    finder, (run, _) = finder_of(toy), toy.sample("9")
    finder.add_run("5", run, 0, [0.1, 0.1])
    assert finder.find("5") == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"run_context": replace(PLAIN, sampler=SamplerFamily.STOCHASTIC)}, NoSearch.SAMPLER),
        ({"run_context": replace(PLAIN, sampler=SamplerFamily.FROM_THE_IMAGE)}, NoSearch.SAMPLER),
        ({"run_context": replace(PLAIN, calls=2)}, NoSearch.SAMPLER),
        ({"schedule": replace(KNOWN, predicts_denoised=True)}, NoSearch.SAMPLER),
        ({"schedule": replace(KNOWN, sequences=(CallSequence(SIGMAS[:-1]),))}, NoSearch.SAMPLER),
        ({"schedule": replace(KNOWN, sequences=KNOWN.sequences * 2)}, NoSearch.SAMPLER),
        ({"schedule": Schedule((*SIGMAS[:10], 0.0))}, NoSearch.OUTPUTS),
    ],
    ids=["noise", "the image", "two calls", "images", "no weights", "two sequences", "few outputs"],
)
def test_what_cannot_be_searched_says_why(toy, changed, reason):
    finder, (run, _) = finder_of(toy), toy.sample("5")
    given = {"run_context": run.run_context, "schedule": run.schedule, "by_sample": run.by_sample} | changed
    finder.add_run("5", SimpleNamespace(**given), 0, [0.1, 0.1])
    assert finder.no_search is reason
    assert finder.find("5") == []


@pytest.mark.parametrize("steps", [8, 101])
def test_runs_of_few_and_of_very_many_steps_are_not_searched(steps):
    finder = PlanFinder()
    finder.add_reference([1.0] * steps, [torch.ones(1, 1)] * steps)
    assert finder.no_search is NoSearch.STEPS
