"""Output policies on any model of the host: a U-Net with eps prediction, an unknown class, pictures put out."""

import logging

import pytest
import torch
from compiling import WHOLE, compiled
from passes import Passes, assert_close
from testbed.captions import CAPTIONS

STEPS, HALF = 20, 10
OWN = ("fidelity", "balanced", "fast")


@pytest.fixture
def flux(comfy):
    return Passes(comfy, "flux")


def attached(passes, preset, model=None, **settings):
    """The model under a preset, as DiCache Apply attaches it."""
    model, patchers = model or passes.model(), passes.comfy.pack.model_patchers
    config = passes.core.resolve(patchers.architecture_of(model), preset, **settings)
    return patchers.attach(model, config, runs=passes.runs)


def psnr(a, b) -> float:
    return -10 * (a - b).square().mean().log10().item()


# -- a U-Net with eps prediction on a discrete schedule ----------------------------------------------------------------


def unet_pictures(comfy, model, scheduler, steps=STEPS):
    from testbed.conditioning import SHAPES

    samples = comfy.sample(
        model, CAPTIONS[:2], architecture="unet", steps=steps, cfg=SHAPES["unet"].cfg, scheduler=scheduler
    )
    return comfy.pictures(samples, "unet").clamp(0, 1)


@pytest.mark.parametrize("scheduler", ["normal", "karras"])
def test_own_presets_on_a_unet_are_ahead_of_fewer_steps(comfy, scheduler):
    passes = Passes(comfy, "unet")
    plain = unet_pictures(comfy, passes.model(), scheduler, 30)
    fewer = unet_pictures(comfy, passes.model(), scheduler, 15)
    cached = unet_pictures(comfy, attached(passes, "balanced"), scheduler, 30)
    samples = [[d for _, d in sample] for sample in passes.run.by_sample().values()]
    vetoed = [[d.reason == "forecasts off" for d in sample] for sample in samples]
    if scheduler == "karras":  # whose plan would skip the second call
        assert all(sample[1] for sample in vetoed), "no forecast of this run was audited: it takes a later one's place"
    computed = [sum(not d.reuse for d in sample) for sample in samples]
    assert computed == [15 + sum(sample[2:]) for sample in vetoed], "half, and what the model vetoes on top"
    assert psnr(cached, plain) > psnr(fewer, plain) + 1


@pytest.mark.parametrize("preset", OWN)
def test_nothing_is_changed_where_everything_is_computed(comfy, preset):
    passes = Passes(comfy, "unet")
    plain = unet_pictures(comfy, passes.model(), "normal", 10)
    assert torch.equal(unet_pictures(comfy, attached(passes, preset, threshold=0.0), "normal", 10), plain)
    whole_run = attached(passes, preset, end_percent=0.0)
    assert torch.equal(unet_pictures(comfy, whole_run, "normal", 10), plain)


def test_the_paper_of_the_unet_is_deepcache(comfy):
    passes = Passes(comfy, "unet")
    plain = unet_pictures(comfy, passes.model(), "normal")
    cached = unet_pictures(comfy, attached(passes, "published"), "normal")
    assert passes.core.method_of(passes.run.config) == "deepcache"
    assert passes.run.reused > STEPS / 2
    assert psnr(cached, plain) > 15


# -- a class that the pack has never seen ------------------------------------------------------------------------------


@pytest.fixture
def strange(flux):
    """Flux's network under another pack's class."""
    network = flux.model().model.diffusion_model
    known = type(network)
    network.__class__ = type("QuantisedFlux", (known,), {})
    yield flux
    network.__class__ = known


@pytest.mark.parametrize("preset", OWN)
def test_own_presets_work_on_a_class_that_nobody_knows(flux, preset, request):
    expected = flux.sample(attached(flux, preset), steps=STEPS)
    decisions = flux.decisions()
    strange = request.getfixturevalue("strange")
    assert strange.comfy.pack.model_patchers.family_of(strange.model().model.diffusion_model) is None
    assert_close(strange.sample(attached(strange, preset), steps=STEPS), expected)
    assert strange.decisions() == decisions
    assert strange.run.reused > 0


@pytest.mark.parametrize("settings", [{"preset": "published"}, {"preset": "balanced", "threshold": 0.3}])
def test_what_looks_at_blocks_says_what_to_choose_instead(strange, settings):
    with pytest.raises(ValueError, match="fidelity, balanced or fast"):
        attached(strange, **settings)


# -- models that put out pictures, models that are compiled whole ------------------------------------------------------


@pytest.mark.parametrize("kind", ["IMG_TO_IMG", "IMG_TO_IMG_FLOW"])
def test_a_model_that_puts_out_the_picture_is_computed_in_full(flux, kind, caplog):
    sampling = flux.comfy.module("comfy.model_sampling")
    if not hasattr(sampling, kind):
        pytest.skip(f"ComfyUI {flux.comfy.version} has no {kind}")
    model, known = flux.model(), flux.model().get_model_object("model_sampling")
    picture = type("Picture", (getattr(sampling, kind), sampling.ModelSamplingFlux), {})()
    assert type(known) is not type(picture)
    model.add_object_patch("model_sampling", picture)
    plain = flux.sample(model)
    with caplog.at_level(logging.INFO, "dicache"):
        assert torch.equal(flux.sample(attached(flux, "fast", model)), plain)
    assert flux.run.reused == 0
    assert flux.core.explain.why_nothing(flux.run).reason == "pictures"
    assert "unsupported model type" in caplog.text


def test_a_model_compiled_whole_keeps_its_graph_under_an_output_policy(flux):
    """The compiled network itself is called, once for each computed step."""
    calls = []
    model = compiled(flux.comfy, flux.model(), WHOLE)

    def count(executor, *args, **kwargs):
        calls.append(hasattr(executor.class_obj.diffusion_model, "_orig_mod"))
        return executor(*args, **kwargs)

    cached = attached(flux, "balanced", model)
    wrappers = flux.comfy.module("comfy.patcher_extension").WrappersMP
    cached.add_wrapper_with_key(wrappers.APPLY_MODEL, "zz_count", count)
    flux.sample(cached, steps=STEPS)
    assert flux.run.reused == HALF
    assert calls
    assert all(calls)


# -- schedules that stand still ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_a_schedule_with_a_repeated_sigma_gives_a_picture(flux, preset):
    module, samplers = flux.comfy.module("comfy.sample"), flux.comfy.module("comfy.samplers")
    points = [1.0, 0.95, 0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    noise = module.prepare_noise(flux.latent(), 0)
    with torch.inference_mode():
        out = module.sample_custom(
            attached(flux, preset), noise, 1.0, samplers.sampler_object("euler"), torch.tensor(points),
            flux.text(), flux.text(""), flux.latent(), disable_pbar=True,
        )  # fmt: skip
    assert out.isfinite().all()
    assert flux.run.reused > 0
