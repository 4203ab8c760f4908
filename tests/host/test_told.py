"""What a run is told to have done, where a sampler's evaluations of the model are not the steps of a schedule."""

import importlib
import itertools

import pytest
import torch
from passes import Passes

STEPS = 12
SIZE = {"size": 8}


@pytest.fixture
def flux(comfy) -> Passes:
    return Passes(comfy, "flux")


def custom(flux, sampler, sigmas, model=None):
    """The host's custom sampling of a cached model; a function stands for another pack's sampler."""
    samplers, sampling = (importlib.import_module(f"comfy.{name}") for name in ("samplers", "sample"))
    sampler = samplers.sampler_object(sampler) if isinstance(sampler, str) else samplers.KSAMPLER(sampler)
    latent = flux.latent(**SIZE)
    attach, config = flux.comfy.pack.model_patchers.attach, flux.core.resolve("flux", "balanced")
    model = attach(model or flux.model(), config, runs=flux.runs)
    with torch.inference_mode():
        sampling.sample_custom(
            model, sampling.prepare_noise(latent, 0), 1.0, sampler, sigmas, flux.text(), flux.text(""), latent,
            disable_pbar=True, seed=0,
        )  # fmt: skip
    return flux.run


def schedule(flux, steps=STEPS):
    samplers = importlib.import_module("comfy.samplers")
    return samplers.calculate_sigmas(flux.model().get_model_object("model_sampling"), "simple", steps)


def own_way(sigmas):
    """A sampler that takes Euler's steps along a schedule of its own, whatever it is handed."""

    def sampler(model, x, _sigmas, extra_args=None, callback=None, disable=None):
        for now, after in itertools.pairwise(sigmas):
            x = x + (x - model(x, now * x.new_ones([len(x)]), **(extra_args or {}))) / now * (after - now)
        return x

    return sampler


def less_noise(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """Tells the model of less noise than there is, past the next point of the schedule in its middle."""
    for i, (now, after) in enumerate(itertools.pairwise(sigmas)):
        told = now * (0.8 if 3 < i < 8 else 1.0)
        x = x + (x - model(x, told * x.new_ones([len(x)]), **(extra_args or {}))) / now * (after - now)
    return x


def reason(flux, run):
    found = flux.core.explain.why_nothing(run)
    return found and found.reason


@pytest.mark.parametrize("sampler", ["heun", "dpm_2"])
def test_samplers_of_two_evaluations_a_step_are_told_by_evaluations(flux, sampler):
    flux.sample(flux.cached(threshold=1e9), latent=flux.latent(**SIZE), steps=STEPS, sampler=sampler)
    run = flux.run
    assert len(run.cells) == len(run.passes) == 2 * STEPS - 1
    assert run.reused == sum(p.reused for p in run.passes) > STEPS
    assert f"{STEPS} steps, {2 * STEPS - 1} model evaluations" in flux.comfy.pack.dicache_nodes.rendering.describe(run)


def test_positive_and_negative_are_one_evaluation_however_the_host_batches_them(flux, monkeypatch):
    for memory in (1e18, 0):
        patcher = flux.comfy.module("comfy.model_patcher").ModelPatcher
        monkeypatch.setattr(patcher, "get_free_memory", lambda *_, free=memory: free)
        flux.sample(flux.cached(), latent=flux.latent(**SIZE), cfg=3.0)
        assert len(flux.run.cells) == 10
    assert [len(run.passes) for run in flux.runs] == [10, 20]
    roles = {(sample["role"], sample["number"]) for sample in flux.core.run_json(flux.run, details=True)["samples"]}
    assert roles == {("positive", 1), ("negative", 1)}


def test_unsampling_is_whole_and_says_why_nothing_is_skipped(flux):
    sigmas = schedule(flux).flip(0)
    sigmas[0] = 1e-4
    run = custom(flux, "euler", sigmas)
    assert run.cells == "c" * STEPS
    assert (run.computed, run.reused, run.schedule.steps) == (STEPS, 0, STEPS)
    assert reason(flux, run) == "rising noise"
    assert "unsampling" in flux.comfy.pack.dicache_nodes.rendering.describe(run)


def test_a_restart_within_one_list_is_told_step_by_step(flux):
    whole = schedule(flux)
    run = custom(flux, "euler", torch.cat([whole[:8], whole[4:]]))
    assert len(run.cells) == run.schedule.steps == 16
    assert run.computed + run.reused == 16
    assert run.reused > 0


def test_a_model_that_is_told_less_noise_leaves_no_holes(flux):
    run = custom(flux, less_noise, schedule(flux))
    assert len(run.cells) == STEPS
    assert "-" not in run.cells


@pytest.mark.parametrize("handed", [[0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], ids=str)
def test_a_sampler_with_a_schedule_of_its_own_is_cached_by_it(flux, handed):
    own = schedule(flux, 20)
    run = custom(flux, own_way(own), torch.tensor(handed))
    assert len(run.cells) == 20
    assert run.schedule.sigmas == pytest.approx(own.tolist())
    assert run.reused > 0
    assert run.config.warmup_of(run.schedule.total) == 1
    assert run.schedule.total < 100


def test_a_sampler_nobody_can_ask_with_sigmas_that_say_nothing(flux):
    own = schedule(flux)

    def closed(model, x, *args, **kwargs):
        if x.numel() < 100:  # of a stand-in
            raise TypeError("no toy")
        return own_way(own)(model, x, *args, **kwargs)

    run = custom(flux, closed, torch.tensor([0.0, 0.0]))
    assert (run.reused, len(run.cells)) == (0, STEPS)
    assert reason(flux, run) == "own steps"
    assert run.schedule.total == 1


def test_samplers_that_go_step_by_step_say_so(flux):
    """One run of the sampler for each step, as tiled and regional ones do."""
    latent = None
    for i in range(3):
        kw = dict(start_step=i, last_step=i + 1, force_full_denoise=i == 2, disable_noise=i > 0)
        latent = flux.sample(flux.cached(), latent=flux.latent(**SIZE) if latent is None else latent, steps=3, **kw)
    assert [reason(flux, run) for run in flux.runs] == ["one step"] * 3
    assert "step by step" in flux.comfy.pack.dicache_nodes.rendering.describe(flux.runs[-1])


@pytest.mark.parametrize(
    ("sampler", "end_percent", "why"),
    [
        ("euler_ancestral", 0.1, "first part"),
        ("euler_ancestral", 0.02, "closed"),
        ("euler", 0.02, "closed"),
        ("euler", 0.06, "few open"),
    ],
)
def test_a_range_that_leaves_too_little_is_told_on_the_node_in_the_report_and_in_the_log(
    flux, sampler, end_percent, why, caplog
):
    model, log = flux.comfy.node("DiCacheApply", model=flux.model(), preset="fidelity", end_percent=end_percent)
    with caplog.at_level("INFO", logger="dicache"):
        flux.sample(model, latent=flux.latent(**SIZE), steps=30, sampler=sampler)
    (run,) = log.runs
    assert flux.core.run_json(run)["nothing"]["reason"] == why
    said = flux.core.explain.nothing_text(run)
    assert flux.comfy.pack.dicache_nodes.rendering.describe(run).splitlines()[-1] == said
    assert caplog.messages[-1].endswith(f" {said}")


def test_a_sampler_that_chooses_its_steps_comes_to_its_end(flux):
    flux.sample(flux.cached(), latent=flux.latent(**SIZE), steps=STEPS, sampler="dpm_adaptive")
    assert "-" not in flux.run.cells
    assert "stopped" not in flux.comfy.pack.dicache_nodes.rendering.describe(flux.run)


def test_a_stopped_run_says_how_far_it_came(flux):
    class Stop(Exception):
        pass

    calls = []
    model = flux.cached()

    def wrapper(forward, args):
        calls.append(1)
        if len(calls) > 5:
            raise Stop
        return forward(args["input"], args["timestep"], **args["c"])

    model.set_model_unet_function_wrapper(wrapper)
    with pytest.raises(Stop):
        flux.sample(model, latent=flux.latent(**SIZE), steps=STEPS)
    assert (len(flux.run.cells), flux.run.cells[5:]) == (STEPS, "-" * 7)
    assert "stopped at 5 of 12" in flux.comfy.pack.dicache_nodes.rendering.describe(flux.run)
