"""A model that does not fit: ComfyUI leaves part of its weights in main memory and brings them layer by layer, as used.

On a CPU nothing travels, but layers take the same way through ``comfy.ops``: each asks for its weights anew at every
call.  What is skipped must ask for none.
"""

import pytest
import torch
from every_policy import STEPS, loosened, recorded
from passes import Passes
from patchers.cached import counted

pytestmark = pytest.mark.one_host
# Methods that look at the whole stack, at the output, and at parts of the stack; Wan's has no second stage.
POLICIES = {
    "flux": ("dicache", "forecast", "profilingdit", "h2cache", "block_mask"),
    "wan": ("dicache", "forecast", "profilingdit", "block_mask"),
}


class Streamed(Passes):
    """The testbed's model in memory of its own, with room for half of its weights."""

    def __init__(self, comfy, architecture, monkeypatch):
        super().__init__(comfy, architecture)
        self.own = own = comfy.module("testbed.models").build_model(architecture)
        patcher = comfy.module("comfy.model_patcher").ModelPatcher
        load = patcher.load

        def in_half(loaded, device=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False):
            if loaded.model is own.model:
                lowvram_model_memory, full_load = own.model_size() // 2, False
            return load(loaded, device, lowvram_model_memory, force_patch_weights, full_load=full_load)

        monkeypatch.setattr(patcher, "load", in_half)

    def model(self):
        return self.own.clone()


@pytest.fixture
def asked(comfy, monkeypatch):
    """Layers that asked for their weights, in turn."""
    ops, found = comfy.module("comfy.ops"), []
    cast = ops.cast_bias_weight

    def noted(layer, *args, **kwargs):
        found.append(layer)
        return cast(layer, *args, **kwargs)

    monkeypatch.setattr(ops, "cast_bias_weight", noted)
    return found


def asked_by_block(blocks, asked):
    layers = [set(block.modules()) for block in blocks]
    return [sum(layer in of_block for layer in asked) for of_block in layers]


@pytest.mark.parametrize(("architecture", "name"), [(a, name) for a, names in POLICIES.items() for name in names])
def test_what_is_skipped_asks_for_no_weights_and_no_bit_changes(comfy, monkeypatch, asked, architecture, name):
    whole, streamed = Passes(comfy, architecture), Streamed(comfy, architecture, monkeypatch)
    config = loosened(whole.core, name, recorded(whole), architecture)
    attach = comfy.pack.model_patchers.attach
    plain = whole.sample(whole.model(), steps=STEPS)
    cached = whole.sample(attach(whole.model(), config, runs=whole.runs), steps=STEPS)
    assert not asked, "a model that fits asks for nothing"

    network = streamed.model().model.diffusion_model
    blocks = [block.module for block in comfy.pack.model_patchers.family_of(network).blocks(network)]
    assert torch.equal(streamed.sample(streamed.model(), steps=STEPS), plain)
    layers = {layer for block in blocks for layer in block.modules() if hasattr(layer, "comfy_cast_weights")}
    assert 0 < len(layers & set(asked)) < len(layers), "some of the blocks' weights are streamed, and some stay"
    in_a_step = [count // STEPS for count in asked_by_block(blocks, asked)]

    asked.clear()
    with counted(blocks) as ran:
        out = streamed.sample(attach(streamed.model(), config, runs=streamed.runs), steps=STEPS)
    assert torch.equal(out, cached)
    assert streamed.run.cells == whole.run.cells
    assert streamed.run.shares == whole.run.shares
    assert min(ran) < STEPS
    assert asked_by_block(blocks, asked) == [layers * times for layers, times in zip(in_a_step, ran, strict=True)]
    assert any(layers and times < STEPS for layers, times in zip(in_a_step, ran, strict=True))
