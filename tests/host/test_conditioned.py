"""Reference pictures, control videos and side blocks through the real sampler, counted block by block."""

import pytest
import torch
from passes import COMPOSED, Passes, some

STEPS = 8


def sampled(passes, model, positive, **settings):
    return passes.sample(model, positive, steps=STEPS, **settings)


def with_values(conditioning, **values):
    return [[context, {**extras, **values}] for context, extras in conditioning]


def noise(*shape, seed=9):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CONDITIONS = {
    "hunyuan_video": {
        "reference in the first frame": dict(ref_latent=noise(1, 16, 1, 8, 8), guiding_frame_index=0),
        "reference": dict(ref_latent=noise(1, 16, 1, 8, 8)),
    },
    "wan": {
        "frames joined in time": dict(time_dim_concat=noise(1, 16, 1, 8, 8)),
        "latents as context": dict(context_latents=[noise(1, 16, 1, 8, 8), noise(1, 16, 2, 4, 6)]),
    },
}


@pytest.mark.parametrize(
    ("architecture", "condition"), [(name, condition) for name, kinds in CONDITIONS.items() for condition in kinds]
)
def test_reference_tokens_on_trained_weights(comfy, architecture, condition):
    passes = Passes(comfy, architecture)
    positive = with_values(passes.text(), **CONDITIONS[architecture][condition])
    plain = sampled(passes, passes.model(), positive)
    if torch.equal(plain, sampled(passes, passes.model(), passes.text())):
        pytest.skip(f"ComfyUI {comfy.version} takes no {condition}")
    assert torch.equal(sampled(passes, passes.cached(threshold=COMPOSED), positive), plain)
    cached = sampled(passes, passes.cached(threshold=0.15), positive)
    assert some(passes.run)
    # Far nearer to the plain result than one that lost the reference.
    lost = sampled(passes, passes.model(), passes.text())
    assert (cached - plain).abs().mean() < 0.5 * (lost - plain).abs().mean()


# ---------------------------------------------------------------- VACE, counted


@pytest.fixture(scope="module")
def vace(comfy):
    """A toy VACE model with random weights, loaded by ComfyUI's own detection, as a file would be."""
    comfy_wan = comfy.module("comfy.ldm.wan.model")
    operations = comfy.module("comfy.ops").disable_weight_init
    settings = dict(dim=128, ffn_dim=128, num_heads=1, num_layers=4, vace_layers=2, vace_in_dim=96)
    network = comfy_wan.VaceWanModel(**settings, dtype=torch.float32, device="cpu", operations=operations)
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        fan_in = parameter.shape[1:].numel() if parameter.ndim > 1 else 16
        torch.nn.init.normal_(parameter, std=fan_in**-0.5, generator=generator)
    model = comfy.module("comfy.sd").load_diffusion_model_state_dict(network.state_dict())
    assert type(model.model.diffusion_model) is comfy_wan.VaceWanModel
    return model


def counting(modules):
    """Calls that each module really runs; a hook would also see blocks that are skipped."""
    calls = [0] * len(modules)

    def counted(i, original):
        def forward(*args, **kwargs):
            calls[i] += 1
            return original(*args, **kwargs)

        return forward

    for i, module in enumerate(modules):
        module.forward = counted(i, module.forward)
    return calls


def test_skipped_vace_step_runs_the_probe_and_nothing_else(comfy, vace):
    passes = Passes(comfy, "wan")
    positive = with_values(passes.text(), vace_frames=[noise(1, 32, 3, 8, 8)], vace_mask=[torch.ones(1, 64, 3, 8, 8)])
    plain = sampled(passes, vace.clone(), positive)
    assert torch.equal(sampled(passes, passes.cached(vace.clone(), threshold=COMPOSED), positive), plain)
    network = vace.model.diffusion_model
    stack, beside = counting(network.blocks), counting(network.vace_blocks)
    sampled(passes, passes.cached(vace.clone(), threshold=1e9), positive)
    assert passes.run.cells == "wwrrrrrl"
    computed = passes.run.computed
    assert stack == [STEPS, computed, computed, computed], "a skipped step runs the probe's block only"
    assert beside == [computed, computed], "a skipped step runs no VACE block"
    assert network.vace_layers_mapping == {0: 0, 2: 1}


def test_interrupted_vace_run_leaves_the_model_whole(comfy, vace):
    passes = Passes(comfy, "wan")
    positive = with_values(passes.text(), vace_frames=[noise(1, 32, 3, 8, 8)], vace_mask=[torch.ones(1, 64, 3, 8, 8)])
    network = vace.model.diffusion_model
    plain = sampled(passes, vace.clone(), positive)

    def stop(*_):
        if network.vace_layers_mapping == {}:
            raise comfy.module("comfy.model_management").InterruptProcessingException

    handle = network.head.register_forward_pre_hook(stop)
    with pytest.raises(comfy.module("comfy.model_management").InterruptProcessingException):
        sampled(passes, passes.cached(vace.clone(), threshold=1e9), positive)
    handle.remove()
    assert torch.equal(sampled(passes, vace.clone(), positive), plain)
