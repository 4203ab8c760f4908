"""Autoregressive Wan: chunks of frames one after the other, each with the keys and values of those before it."""

import importlib
from types import SimpleNamespace

import pytest
import torch
from passes import Passes
from testbed import conditioning as testbed

CHUNKS, STEPS = 3, 10


@pytest.fixture
def causal(comfy):
    """``Passes`` of the testbed's Wan as the host's causal class; both have the same weights."""
    try:
        host = importlib.import_module("comfy.ldm.wan.ar_model")
    except ImportError:
        pytest.skip(f"ComfyUI {comfy.version} has no autoregressive Wan")
    patcher = comfy.module("comfy.sd").load_diffusion_model(str(testbed.weights("wan")))
    model = patcher.model.diffusion_model
    model.__class__ = host.CausalWanModel
    for block in model.blocks:
        block.__class__ = host.CausalWanAttentionBlock
        block.self_attn.__class__ = host.CausalWanSelfAttention
    passes = Passes(comfy, "wan")
    passes.causal = patcher
    return passes


def sampled(passes, policy=None, **settings):
    """The latent of a video of ``CHUNKS`` chunks, and the cached run's statistics."""
    comfy, runs, model = passes.comfy, [], passes.causal.clone()
    if policy:
        core = passes.core
        config = core.resolve("wan", policy=core.Policy(*policy, warmup_steps=2, **settings))
        model = comfy.pack.model_patchers.attach(model, config, runs=runs)
    samplers = comfy.module("comfy.samplers")
    latent = testbed.empty_latent("wan", 1, size=8, frames=CHUNKS)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(5))
    sigmas = samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    with torch.inference_mode():
        out = comfy.module("comfy.sample").sample_custom(
            model, noise, 1.0, samplers.ksampler("ar_video", {"num_frame_per_block": 1}), sigmas,
            passes.text(), passes.text(""), latent, seed=0,
        )  # fmt: skip
    return out, runs


def test_the_causal_model_samples(causal):
    out, _ = sampled(causal)
    assert torch.isfinite(out).all()
    assert out.shape[2] == CHUNKS


@pytest.mark.parametrize("predictor", ["output_reuse", "output_line", "spectrum_output", "mean_velocity"])
def test_output_policies_skip_in_every_chunk(causal, predictor):
    """A chunk whose keys and values were miscounted would end in the host's own error, or in those of another."""
    out, runs = sampled(causal, ("fixed", predictor), threshold=2.0)
    assert torch.isfinite(out).all()
    reused = [[decision.reuse for _, decision in lane] for lane in runs[0].lanes().values()]
    assert reused == [[False, False, True, False, True, False, True, False, True, False]] * CHUNKS


def test_a_skipped_chunk_counts_as_written(comfy):
    # 5 x 8 pixels in patches of 2 x 2, the last one padded: 3 * 4 tokens in each of two frames
    pass_over = comfy.module(f"{comfy.pack.__name__}.model_patchers.autoregressive").pass_over
    model, x = SimpleNamespace(patch_size=(1, 2, 2)), torch.zeros(1, 16, 2, 5, 8)
    caches = [{"end": 24}, {"end": 0}]
    pass_over(model, x, {"ar_state": {"kv_caches": caches}})
    assert caches == [{"end": 48}, {"end": 24}]
    pass_over(model, x, {})  # any other pass


def test_threshold_0_changes_no_bit(causal):
    assert torch.equal(sampled(causal, ("fixed", "output_reuse"), threshold=0.0)[0], sampled(causal)[0])


def test_policies_of_the_stack_compute_every_step(causal):
    """The causal pass runs its blocks by itself, past every replacement."""
    out, runs = sampled(causal, ("delta_y", "trajectory"), threshold=10.0)
    assert torch.equal(out, sampled(causal)[0])
    assert not runs[0].passes
