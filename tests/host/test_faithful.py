"""Faithful: the pack in a real ComfyUI decides and computes what a plain loop over the blocks does."""

from dataclasses import replace

import pytest
import torch
from reference_dicache import sample_plainly
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

STEPS = 30
GUIDED = 2.0
SIZES = {"flux": {"size": 16}, "hunyuan_video": {"size": 8, "frames": 3}, "wan": {"size": 8, "frames": 3}}


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video", "wan"])
def test_decisions_are_identical_and_latents_agree(comfy, pack, architecture, factor):
    published = pack.dicache_core.presets.published(architecture)
    config = replace(published, threshold=published.threshold * factor)
    model, reused = comfy.load_model(architecture), 0
    for seed, caption in enumerate(CAPTIONS[:3]):
        runs = []
        cached = pack.model_patchers.attach(model, config, runs=runs)
        latent = comfy.sample(cached, caption, architecture=architecture, steps=STEPS, seed=seed, **SIZES[architecture])
        noise = comfy.module("comfy.sample").prepare_noise(torch.zeros_like(latent), seed)
        sigmas = comfy.module("comfy.samplers").calculate_sigmas(
            model.get_model_object("model_sampling"), "simple", STEPS
        )
        with torch.inference_mode():
            plain, decisions = sample_plainly(
                model,
                architecture,
                testbed.conditioning(architecture, caption),
                noise,
                sigmas,
                config.threshold,
                config.gamma_max,
            )
        assert runs[0].cells.replace("w", "c").replace("l", "c") == decisions
        assert (model.get_model_object("latent_format").process_in(latent) - plain).abs().max() < 1e-4
        reused += runs[0].reused
    assert reused > 0, "nothing was reused, so nothing was compared"


@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video", "wan"])
def test_positive_and_negative_are_skipped_together_as_in_the_plain_loop(comfy, pack, architecture):
    config = pack.dicache_core.presets.published(architecture)
    model, runs, seed = comfy.load_model(architecture), [], 3
    cached = pack.model_patchers.attach(model, config, runs=runs)
    latent = testbed.empty_latent(architecture, 1, **SIZES[architecture])
    noise = comfy.module("comfy.sample").prepare_noise(latent, seed)
    positive, negative = (testbed.conditioning(architecture, text) for text in (CAPTIONS[seed], ""))
    with torch.inference_mode():
        (sampled,) = comfy.nodes.common_ksampler(
            cached, seed, STEPS, GUIDED, "euler", "simple", positive, negative, {"samples": latent}
        )
        sigmas = comfy.module("comfy.samplers").calculate_sigmas(
            model.get_model_object("model_sampling"), "simple", STEPS
        )
        plain, decisions = sample_plainly(
            model, architecture, positive, noise, sigmas, config.threshold, config.gamma_max, negative, GUIDED
        )
    samples = [["cr"[decision.reuse] for _, decision in sample] for sample in runs[0].by_sample().values()]
    assert samples == [list(decisions)] * 2
    assert 0 < runs[0].reused < STEPS - 7
    apart = model.get_model_object("latent_format").process_in(sampled["samples"]) - plain
    assert apart.abs().max() < 1e-4 * plain.abs().max()  # CPUs add up a batch of two in other orders than one of one
