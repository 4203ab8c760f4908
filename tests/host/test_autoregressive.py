"""Causal Wan under its own sampler, which makes a video block by block and keeps keys and values between calls."""

import json
import logging

import pytest
import torch
from passes import STEPS, Passes


@pytest.fixture(scope="module")
def causal(comfy, pack):
    """A toy with random weights, loaded by ComfyUI's own detection, as a file would be."""
    try:
        wan = comfy.module("comfy.ldm.wan.ar_model")
    except ImportError:
        pytest.skip(f"ComfyUI {comfy.version} has no causal Wan")
    operations = comfy.module("comfy.ops").disable_weight_init
    settings = dict(dim=128, ffn_dim=128, num_heads=1, num_layers=4)
    network = wan.CausalWanModel(**settings, dtype=torch.float32, device="cpu", operations=operations)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        fan_in = parameter.shape[1:].numel() if parameter.ndim > 1 else 16
        torch.nn.init.normal_(parameter, std=fan_in**-0.5, generator=generator)
    model = comfy.module("comfy.sd").load_diffusion_model_state_dict(
        network.state_dict(), metadata={"config": json.dumps({"transformer": {"causal_ar": True}})}
    )
    assert type(model.model.diffusion_model) is wan.CausalWanModel
    return model


def sample(passes, model, sampler):
    comfy = passes.comfy
    samplers, custom = comfy.module("comfy.samplers"), comfy.module("comfy.sample")
    latent, sigmas = (
        passes.latent(),
        samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS),
    )
    noise = custom.prepare_noise(latent, 0)
    with torch.inference_mode():
        return custom.sample_custom(
            model, noise, 1.0, samplers.ksampler(sampler), sigmas, passes.text(), passes.text(""), latent,
            disable_pbar=True, seed=0,
        )  # fmt: skip


@pytest.mark.parametrize("predictor", ["trajectory", "output_line"])
def test_its_own_sampler_is_computed_and_the_log_says_so(comfy, causal, predictor, caplog):
    passes = Passes(comfy, "wan")
    plain = sample(passes, causal.clone(), "ar_video")
    with caplog.at_level(logging.WARNING, logger="dicache"):
        cached = sample(passes, passes.cached(causal.clone(), threshold=1e9, predictor=predictor), "ar_video")
    assert torch.equal(cached, plain)
    (line,) = [r.getMessage() for r in caplog.records if "ar_video" in r.getMessage()]
    assert "no step is skipped" in line
    assert passes.run.reused == 0


@pytest.mark.parametrize("policy", ["profilingdit", "h2cache"])
def test_policies_on_parts_of_the_stack_refuse_it(comfy, causal, policy):
    """When they are chosen, and so under every sampler: its blocks may keep keys and values from call to call."""
    typed = {"mask": "blocks 1-2"} if policy == "profilingdit" else {}
    (chosen,) = comfy.node("DiCachePolicy", policy=policy, **typed)
    words = (
        r"skips parts of a stack of blocks, and this Wan model .* or makes a video block by block \(causal\): "
        "choose another policy, such as dicache or fbcache"
    )
    with pytest.raises(ValueError, match=words):
        comfy.node("DiCacheApply", model=causal.clone(), policy=chosen)
    if policy == "profilingdit":  # the same list is taken on a Wan that is not causal
        comfy.node("DiCacheApply", model=comfy.load_model("wan"), policy=chosen)


def test_under_other_samplers_it_is_cached(comfy, causal, caplog):
    passes = Passes(comfy, "wan")
    sample(passes, passes.cached(causal.clone(), threshold=1e9), "euler")
    assert passes.run.cells == "wwrrrrrrrl"
    assert "ar_video" not in caplog.text
