"""Exact when off: a graph with a cache that never skips is the graph without the node, bit for bit."""

import pytest
import torch
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

STEPS = 6
SIZES = {"flux": {"size": 16}, "hunyuan_video": {"size": 8, "frames": 3}, "wan": {"size": 8, "frames": 3}}


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "euler_ancestral"])
@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video", "wan"])
def test_bit_identical_with_threshold_0_and_after_bypass(comfy, pack, architecture, sampler, cfg):
    def sample(model):
        options = dict(architecture=architecture, steps=STEPS, sampler=sampler, cfg=cfg, **SIZES[architecture])
        return comfy.sample(model, CAPTIONS[0], **options)

    model = comfy.load_model(architecture)
    plain = sample(model)
    (off, *_) = comfy.node("DiCacheApply", model=model, threshold=0.0)
    assert torch.equal(sample(off), plain)
    (on, *_) = comfy.node("DiCacheApply", model=model, preset="published", threshold=9.0, warmup_steps=2)
    assert not torch.equal(sample(on), plain), "the cache did nothing, so the bypass shows nothing"
    assert torch.equal(sample(model), plain), "the model without the node is not what it was before"


def test_a_threshold_too_small_to_skip_is_exact_too(comfy, pack):
    """The whole machinery runs, and changes nothing."""
    model = comfy.load_model("flux")
    (tiny, *_) = comfy.node("DiCacheApply", model=model, threshold=1e-9)
    assert torch.equal(
        comfy.sample(tiny, CAPTIONS[0], steps=STEPS, size=16), comfy.sample(model, CAPTIONS[0], steps=STEPS, size=16)
    )


def sample_noise(comfy, pack, captions, noise):
    """(latent, decisions per row) of captions sampled from given noise with the published settings."""
    runs, published = [], pack.dicache_core.presets.published("flux")
    model = pack.model_patchers.attach(comfy.load_model("flux"), published, runs=runs)
    sampler = comfy.module("comfy.samplers").KSampler(model, 30, "cpu", "euler", "simple", 1.0)
    negative = testbed.conditioning("flux", "")
    positive = comfy._conditioning("flux", captions)
    latent = sampler.sample(noise, positive, negative, 1.0, latent_image=torch.zeros_like(noise), disable_pbar=True)
    return latent, {key.row: [d.reuse for _, d in steps] for key, steps in runs[0].by_sample().items()}


def test_captions_of_a_batch_decide_as_they_do_alone(comfy, pack):
    noise = torch.randn(2, 16, 16, 16, generator=torch.Generator().manual_seed(3))
    latents, together = sample_noise(comfy, pack, CAPTIONS[:2], noise)
    for row in range(2):
        latent, alone = sample_noise(comfy, pack, [CAPTIONS[row]], noise[row : row + 1])
        assert any(alone[0])
        assert together[row] == alone[0]
        assert torch.allclose(latents[row : row + 1], latent, atol=1e-3)
