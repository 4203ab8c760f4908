"""Exact when off: a graph with a cache that never skips is the graph without the node, bit for bit."""

import pytest
import torch
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
    (on, *_) = comfy.node("DiCacheApply", model=model, threshold=50.0, warmup_steps=2)
    assert not torch.equal(sample(on), plain), "the cache did nothing, so the bypass shows nothing"
    assert torch.equal(sample(model), plain), "the model without the node is not what it was before"


def test_a_threshold_too_small_to_skip_is_exact_too(comfy, pack):
    """The whole machinery runs, and changes nothing."""
    model = comfy.load_model("flux")
    (tiny, *_) = comfy.node("DiCacheApply", model=model, threshold=1e-9)
    assert torch.equal(comfy.sample(tiny, CAPTIONS[0], steps=STEPS, size=16), comfy.sample(model, CAPTIONS[0], steps=STEPS, size=16))


def test_captions_of_a_batch_decide_as_they_do_alone(comfy, pack):
    def runs_of(captions, latent):
        runs = []
        config = pack.dicache_core.published("flux")
        out = comfy.sample(pack.model_patchers.attach(comfy.load_model("flux"), config, runs=runs), captions, seed=3, size=16)
        lanes = {key.row: [d.reuse for _, d in steps] for key, steps in runs[0].lanes().items()}
        return out, lanes

    together, both = runs_of(CAPTIONS[:2], None)
    assert set(both) == {0, 1}
    assert any(both[0])
    first, alone = runs_of(CAPTIONS[:1], None)
    assert both[0] == alone[0]
    assert torch.allclose(together[:1], first, atol=1e-3)
    noise = comfy.module("comfy.sample").prepare_noise(torch.zeros_like(together), 3)[1:]
    second, alone = sample_with_noise(comfy, pack, CAPTIONS[1], noise)
    assert both[1] == alone[0]
    assert torch.allclose(together[1:], second, atol=1e-3)


def sample_with_noise(comfy, pack, caption, noise):
    """Sample one caption from given noise, as the second row of a batch has it."""
    runs = []
    model = pack.model_patchers.attach(comfy.load_model("flux"), pack.dicache_core.published("flux"), runs=runs)
    from testbed import conditioning as testbed

    out = comfy.module("comfy.sample").sample(
        model, noise, 30, 1.0, "euler", "simple", testbed.conditioning("flux", caption), testbed.conditioning("flux", ""), torch.zeros_like(noise)
    )
    return out, {key.row: [d.reuse for _, d in steps] for key, steps in runs[0].lanes().items()}
