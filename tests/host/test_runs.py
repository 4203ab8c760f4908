"""Every kind of sampling run: batches, partial schedules, several runs in a graph, windows, guiders, few steps."""

import logging

import pytest
import torch
from passes import ARCHITECTURES, COMPOSED, STEPS, Passes, assert_close, some, streams
from testbed.captions import CAPTIONS


@pytest.fixture(params=ARCHITECTURES)
def passes(request, comfy):
    return Passes(comfy, request.param)


def exact(passes, **settings) -> None:
    """Composed without skipping, the run is the plain one bit for bit."""
    plain = passes.sample(passes.model(), **settings)
    assert torch.equal(passes.sample(passes.cached(threshold=COMPOSED), **settings), plain)


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_samples_of_a_batch_decide_alone(passes, batch):
    """Rows of a batch get what each row's noise gets alone."""
    sampler = passes.comfy.module("comfy.sample")
    noise = sampler.prepare_noise(passes.latent(batch), 3)

    def run(rows):
        model = passes.cached()
        latent = passes.latent(len(rows))
        out = sampler.sample(
            model, noise[rows], STEPS, 1.0, "euler", "simple", passes.text(), passes.text(""), latent, disable_pbar=True
        )
        return out, passes.decisions()

    together, samples = run(list(range(batch)))
    assert some(passes.run)
    assert len(samples) == batch
    for row in {0, batch - 1}:
        alone, (sample,) = run([row])
        assert samples[row] == sample
        assert_close(together[row : row + 1], alone, 5e-4)  # kernels round otherwise for another batch on some CPUs


# ---------------------------------------------------------------- parts of a schedule


def test_image_to_image(passes):
    start = passes.sample(passes.model(), steps=4)
    exact(passes, latent=start, denoise=0.5, steps=6)
    passes.sample(passes.cached(warmup_steps=None), latent=start, denoise=0.5)
    schedule = passes.run.schedule
    assert schedule.steps == STEPS
    assert schedule.total == pytest.approx(2 * STEPS, abs=1)
    assert "w" not in passes.run.cells, "half the schedule lies before this run, so its warm-up is over"
    assert passes.run.cells.startswith("c")
    assert passes.run.reused > 0


def test_second_sampler_on_another_size(passes):
    model = passes.cached()
    first = passes.sample(model)
    size = tuple(3 * s // 2 for s in first.shape[-2:])
    dims = first.shape[2:-2]
    larger = torch.nn.functional.interpolate(first, (*dims, *size), mode="nearest")
    second = passes.sample(model, latent=larger, denoise=0.6)
    assert second.shape[-2:] == size
    assert second.isfinite().all()
    assert passes.run.schedule.steps_before > 0
    assert [run.reused > 0 for run in passes.runs] == [True, True]
    assert passes.run.passes[0].decisions[0].reason in ("warm-up", "no anchor yet"), "nothing outlives a run"


def test_start_and_end_steps(passes):
    """KSamplerAdvanced in two halves, with leftover noise in between."""
    halves = [
        dict(disable_noise=False, start_step=0, last_step=6, force_full_denoise=False),
        dict(disable_noise=True, start_step=6, last_step=STEPS, force_full_denoise=True),
    ]

    def run(models):
        latent = None  # the empty one
        for model, half in zip(models, halves, strict=True):
            latent = passes.sample(model, latent=latent, **half)
        return latent

    plain = run([passes.model()] * 2)
    assert torch.equal(run([passes.cached(threshold=COMPOSED)] * 2), plain)
    run([passes.cached(warmup_steps=None)] * 2)
    first, second = (run.schedule for run in passes.runs[-2:])
    assert (first.steps_before, first.steps, first.total) == (0, 6, pytest.approx(STEPS, abs=1))
    assert (second.steps_before, second.steps) == (pytest.approx(6, abs=1), 4)
    assert passes.runs[-2].cells.startswith("ww")
    assert passes.runs[-1].cells[0] == "c"


@pytest.mark.parametrize(("cfg", "begins"), [(1.0, "cr"), (3.0, "ccr")])
def test_two_experts(comfy, cfg, begins):
    """Wan 2.2: the second model starts mid-schedule, computes an anchor and may skip the step after it.

    Positive and negative decide together, by what the step before showed: they compute one more.
    """
    passes = Passes(comfy, "wan")
    high, low = passes.cached(warmup_steps=None), passes.cached(warmup_steps=None, threshold=0.5)
    steps, middle = 20, 10
    latent = passes.sample(
        high, steps=steps, cfg=cfg, disable_noise=False, start_step=0, last_step=middle, force_full_denoise=False
    )
    passes.sample(
        low, latent=latent, steps=steps, cfg=cfg, disable_noise=True, start_step=middle, force_full_denoise=True
    )
    first, second = passes.runs
    assert first.cells.startswith("wwww")
    assert first.reused > 0
    assert second.schedule.steps_before == middle
    assert second.schedule.total == steps
    assert second.cells.startswith(begins), "one anchor is all that the second expert needs"
    assert second.cells.count("w") == 0


def test_guider(passes):
    """SamplerCustomAdvanced with a CFG guider and its own sigmas."""
    nodes = "nodes_custom_sampler"
    sigmas = passes.extra(f"{nodes}.BasicScheduler", passes.model(), "simple", STEPS, 1.0)

    def run(model):
        guider = passes.extra(f"{nodes}.CFGGuider", model, passes.text(), passes.text(""), 2.0)
        noise = passes.extra(f"{nodes}.RandomNoise", 4)
        sampler = passes.extra(f"{nodes}.KSamplerSelect", "euler")
        out = passes.extra(
            f"{nodes}.SamplerCustomAdvanced", noise, guider, sampler, sigmas, {"samples": passes.latent()}
        )
        return out["samples"]

    plain = run(passes.model())
    assert torch.equal(run(passes.cached(threshold=COMPOSED)), plain)
    run(passes.cached())
    assert some(passes.run)
    assert len(streams(passes.run)) == 2


def test_guider_with_three_conds(passes):
    def run(model):
        texts = [passes.text(CAPTIONS[0]), passes.text(CAPTIONS[1]), passes.text("")]
        guider = passes.extra("nodes_custom_sampler.DualCFGGuider", model, *texts, 2.0, 1.5, "regular")
        noise = passes.comfy.module("comfy.sample").prepare_noise(passes.latent(), 4)
        sampler = passes.comfy.module("comfy.samplers").sampler_object("euler")
        sigmas = passes.extra("nodes_custom_sampler.BasicScheduler", passes.model(), "simple", STEPS, 1.0)
        return guider.sample(noise, passes.latent(), sampler, sigmas, disable_pbar=True)

    plain = run(passes.model())
    assert torch.equal(run(passes.cached(threshold=COMPOSED)), plain)
    run(passes.cached())
    assert some(passes.run)
    assert len(streams(passes.run)) == 3


# ---------------------------------------------------------------- context windows


@pytest.mark.parametrize("schedule", ["standard_static", "looped_uniform"])
@pytest.mark.parametrize("architecture", ["hunyuan_video", "wan"])
def test_context_windows(comfy, architecture, schedule):
    passes = Passes(comfy, architecture)
    latent = passes.latent(frames=6)

    def windowed(model):
        settings = dict(context_length=4, context_overlap=2, context_schedule=schedule, context_stride=1)
        settings |= dict(closed_loop=schedule == "looped_uniform", fuse_method="pyramid", dim=2, freenoise=False)
        return passes.extra("nodes_context_windows.ContextWindowsManualNode", model=model, **settings)

    few = dict(latent=latent, steps=5)
    plain = passes.sample(windowed(passes.model()), **few)
    assert torch.equal(passes.sample(windowed(passes.cached(threshold=COMPOSED)), **few), plain)
    assert torch.equal(passes.sample(passes.cached(windowed(passes.model()), threshold=0.0), **few), plain)
    cached = passes.sample(windowed(passes.cached()), latent=latent)
    assert cached.isfinite().all()
    assert len(streams(passes.run)) > 1, "the windows of a step have to be told apart"
    if schedule == "standard_static":
        assert some(passes.run)
        assert [len(sample) for sample in passes.decisions()] == [STEPS] * 2, "a window's history was lost"
    else:
        at_once = sum(passed.step.step_index == 5 for passed in passes.run.passes)
        assert len(streams(passes.run)) > at_once, "the windows move, and each place has a history of its own"


def test_windows_measure_their_own_movement(comfy):
    passes = Passes(comfy, "wan")
    settings = dict(context_length=4, context_overlap=2, context_schedule="standard_static", context_stride=1)
    settings |= dict(closed_loop=False, fuse_method="pyramid", dim=2, freenoise=False)
    model = passes.extra("nodes_context_windows.ContextWindowsManualNode", model=passes.model(), **settings)
    passes.sample(passes.cached(model, threshold=COMPOSED), latent=passes.latent(frames=6), steps=5)
    errors = [[d.error for _, d in sample if d.error is not None] for sample in passes.run.by_sample().values()]
    assert len(errors) == 2
    # A window that was compared with the other one's probe would seem to have moved by its whole size.
    assert all(error < 0.3 for sample in errors for error in sample)
    assert errors[0] != errors[1]


# ---------------------------------------------------------------- few steps


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_few_steps(passes, steps, caplog):
    with caplog.at_level(logging.INFO, "dicache"):
        cached = passes.sample(passes.cached(threshold=0.5, warmup_steps=None), steps=steps)
    assert cached.isfinite().all()
    said = [r for r in caplog.records if "little to skip" in r.getMessage()]
    assert len(said) == 1
    cells = passes.run.cells
    assert len(cells) == steps
    assert cells[0] in "wcl"
    assert cells[-1] == "l" or steps == 1
    if steps <= 2:
        assert torch.equal(cached, passes.sample(passes.model(), steps=steps)), "there was nothing to skip"


def test_long_runs_are_not_told_that_they_are_short(passes, caplog):
    with caplog.at_level(logging.INFO, "dicache"):
        passes.sample(passes.cached(), steps=9)
    assert not [r for r in caplog.records if "little to skip" in r.getMessage()]
