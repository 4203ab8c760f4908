"""As SDXL is sampled: a U-Net under samplers that add noise, with karras and exponential schedules and a cfg of 6.

A forecast goes by the denoised image, so what a network predicts (eps or v) makes no difference to it.
"""

import pytest
from passes import Passes, assert_close
from testbed import conditioning as testbed

STEPS, CFG = 30, 6.0
CAPTION = "plain green | circle white large still"


@pytest.fixture
def unet(comfy):
    return Passes(comfy, "unet")


class RestatedAsV:
    """``DIFFUSION_MODEL`` wrapper around a network that predicts eps, which makes of it one that predicts v.

    With ``xc = x / sqrt(s^2 + 1)`` going in, ``v = eps sqrt(s^2 + 1) - xc s`` (Salimans and Ho, arXiv 2202.00512, in
    the host's scale) stands for the same denoised image.
    """

    def __call__(self, executor, xc, *args, **kwargs):
        eps = executor(xc, *args, **kwargs)
        options = next(a for a in (*args, kwargs.get("transformer_options")) if isinstance(a, dict) and "sigmas" in a)
        sigma = options["sigmas"].view(-1, 1, 1, 1).to(eps)
        return eps * (sigma**2 + 1).sqrt() - xc * sigma


def as_v(passes):
    model = passes.extra("nodes_model_advanced.ModelSamplingDiscrete", passes.model(), "v_prediction", False)
    kinds = passes.comfy.module("comfy.patcher_extension").WrappersMP
    model.add_wrapper_with_key(kinds.DIFFUSION_MODEL, "as_v", RestatedAsV())
    return model


def sampled(passes, model, preset, sampler, scheduler):
    """The latent under a preset, or without a cache for none."""
    if preset:
        config = passes.core.resolve("unet", preset)
        model = passes.comfy.pack.model_patchers.attach(model, config, runs=passes.runs)
    latent = testbed.empty_latent("unet", 1, 8)
    positive = passes.text(CAPTION)
    return passes.sample(
        model, positive, latent=latent, steps=STEPS, cfg=CFG, sampler=sampler, scheduler=scheduler, seed=3
    )


@pytest.mark.parametrize("scheduler", ["karras", "exponential"])
@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde"])
def test_eps_and_v_of_one_network_are_skipped_alike(unet, sampler, scheduler):
    plain = sampled(unet, unet.model(), None, sampler, scheduler)
    assert_close(sampled(unet, as_v(unet), None, sampler, scheduler), plain, 1e-3)
    eps = sampled(unet, unet.model(), "balanced", sampler, scheduler)
    v = sampled(unet, as_v(unet), "balanced", sampler, scheduler)
    of_eps, of_v = unet.runs
    assert of_eps.cells == of_v.cells
    assert 0 < of_eps.reused <= STEPS // 2
    assert_close(v, eps, 5e-3)


def test_no_call_is_skipped_over_a_leap_from_much_noise_to_next_to_none(comfy):
    """The scheduler normal ends a flow model's run from 24% noise to 0.1% at once, where no model mends what is off."""
    passes = Passes(comfy, "flux")
    sampling = dict(sampler="dpmpp_2s_ancestral", scheduler="normal", steps=12)
    plain = passes.sample(passes.model(), **sampling)
    model = passes.comfy.pack.model_patchers.attach(passes.model(), passes.core.resolve("flux", "fidelity"))
    assert_close(passes.sample(model, **sampling), plain, 0.05)
