"""Faithful: the pack in a real ComfyUI decides and computes what a plain loop over the blocks does."""

from dataclasses import replace

import pytest
import torch
from plain import sample_plainly
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

STEPS = 30
SIZES = {"flux": {"size": 16}, "hunyuan_video": {"size": 8, "frames": 3}, "wan": {"size": 8, "frames": 3}}


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video", "wan"])
def test_decisions_are_identical_and_latents_agree(comfy, pack, architecture, factor):
    published = pack.dicache_core.published(architecture)
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
