"""Every sampler and every scheduler that the host lists, on all three architectures."""

import itertools
import logging

import pytest
import torch
from passes import COMPOSED, Passes

STEPS = 4
SMALLER = {"flux": {"size": 8}, "hunyuan_video": {"size": 4, "frames": 2}, "wan": {"size": 4, "frames": 2}}
ALWAYS = 1e9
ERRATIC = "dpm_adaptive"  # chooses its calls by what it sees: everything is computed


@pytest.fixture(params=["flux", "wan"])  # a schedule of its own each; what a sampler asks depends on no block
def passes(request, comfy):
    return Passes(comfy, request.param)


def sample(passes, model, sampler, scheduler):
    latent = passes.latent(**SMALLER[passes.architecture])
    return passes.sample(model, latent=latent, steps=STEPS, sampler=sampler, scheduler=scheduler, seed=1)


def unsound(run) -> list:
    """Reused passes that do not follow on from what their sample saw last: sigma rose, or a call was left out."""
    return [
        (before.step_index, step.step_index, step.sigma)
        for sample in run.by_sample().values()
        for (before, _), (step, decision) in itertools.pairwise(sample)
        if decision.reuse and (step.sigma > before.sigma * 1.001 or not 0 <= step.calls_since(before) <= 1)
    ]


def check(passes, sampler: str, scheduler: str, off: float) -> str | None:
    """What is wrong with one combination; ``None`` if nothing."""
    plain = sample(passes, passes.model(), sampler, scheduler)
    if not torch.equal(sample(passes, passes.cached(threshold=off), sampler, scheduler), plain):
        return "not the plain result although nothing may be skipped"
    cached = sample(passes, passes.cached(threshold=ALWAYS, warmup_steps=1), sampler, scheduler)
    if not cached.isfinite().all() or cached.std() > 3 * plain.std():
        return f"the result ran away: {cached.std():.1f} instead of {plain.std():.1f}"
    if sampler == ERRATIC:
        return "reused between sigmas of the sampler's own" if passes.run.reused else None
    if wrong := unsound(passes.run):
        return f"reused what does not follow on: {wrong}"
    ends = [(sample[0][1].reuse, sample[-1][1].reuse) for sample in passes.run.by_sample().values()]
    return f"first or last call not computed: {passes.run.cells}" if any(map(any, ends)) else None


def failures(passes, combinations, off: float) -> dict:
    results = {combination: check(passes, *combination, off) for combination in combinations}
    return {combination: wrong for combination, wrong in results.items() if wrong}


def test_every_sampler(passes):
    samplers = passes.comfy.module("comfy.samplers").SAMPLER_NAMES
    assert len(samplers) > 30
    assert not failures(passes, [(sampler, "simple") for sampler in samplers], COMPOSED)
    assert sum(run.reused for run in passes.runs) > len(samplers), "hardly anything was skipped, so nothing was tested"


def test_every_scheduler(passes):
    schedulers = passes.comfy.module("comfy.samplers").SCHEDULER_NAMES
    assert len(schedulers) > 7
    assert not failures(passes, [("euler", scheduler) for scheduler in schedulers], 0.0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("off", [0.0, COMPOSED])
def test_every_combination(passes, off):
    names = passes.comfy.module("comfy.samplers")
    assert not failures(passes, itertools.product(names.SAMPLER_NAMES, names.SCHEDULER_NAMES), off)


def test_sampler_that_chooses_its_calls_computes_and_says_so(passes, caplog):
    with caplog.at_level(logging.INFO, "dicache"):
        sample(passes, passes.cached(threshold=ALWAYS), ERRATIC, "simple")
    assert [r for r in caplog.records if "this sampler needs every step" in r.getMessage()]
    assert not any(d.reuse for sample in passes.run.by_sample().values() for _, d in sample)
    assert {d.reason for sample in passes.run.by_sample().values() for _, d in sample} == {"sampler"}


def test_sampler_with_sigmas_of_its_own_is_followed(passes):
    """dpm_fast leaps over points of the schedule and calls between others: its calls are known beforehand."""
    latent = passes.latent(**SMALLER[passes.architecture])
    passes.sample(passes.cached(threshold=ALWAYS, warmup_steps=1), latent=latent, steps=10, sampler="dpm_fast")
    (sample,) = passes.run.by_sample().values()
    assert all(step.planned for step, _ in sample)
    assert sum(d.reuse for _, d in sample) > 5


def test_schedule_that_begins_a_step_late_is_a_whole_one(passes):
    sample(passes, passes.cached(), "euler", "ddim_uniform")
    assert passes.run.schedule.steps_before == 0


def test_two_evaluations_at_a_noise_level_share_a_history(passes):
    """Heun looks at each sigma twice: as the end of one step and as the beginning of the next."""
    sample(passes, passes.cached(threshold=ALWAYS, warmup_steps=1), "heun", "simple")
    samples = [[step.step_index for step, _ in sample] for sample in passes.run.by_sample().values()]
    assert samples == [[0, 1, 1, 2, 2, 3, 3]]


def test_evaluations_between_steps_share_one_falling_history(passes):
    sample(passes, passes.cached(threshold=ALWAYS, warmup_steps=1), "dpm_2", "simple")
    (decided,) = passes.run.by_sample().values()
    sigmas = [step.sigma for step, _ in decided]
    assert sigmas == sorted(sigmas, reverse=True)
    assert len(sigmas) > STEPS
    assert any(d.reuse for _, d in decided)
    report = passes.core.run_json(passes.run)
    assert report["evaluations"] == len(sigmas)
    assert report["computed"] == sum(not d.reuse for _, d in decided) < report["evaluations"]
