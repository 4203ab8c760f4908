"""Weights that ComfyUI loads in fp8 or int8, under every policy: caching costs there what it costs on full weights."""

import json
from dataclasses import dataclass
from functools import lru_cache

import pytest
import torch
from every_policy import NEVER_AT_THIS_SIZE, POLICIES, STEPS, loosened, recorded
from passes import Passes
from safetensors.torch import load_file, save_file
from testbed.conditioning import weights

FORMATS = ("float8_e4m3fn", "int8_tensorwise")
OFF_STEPS = 3
# What a policy's run may be further from the uncached one than on full weights: rounding moves the sampling path a
# little, and a decision by a step or two with it.
FURTHER, ROOM, STEPS_OFF = 1.5, 0.02, 2


class Quantised(Passes):
    """The testbed's Flux with its blocks' weights in another format."""

    def __init__(self, comfy, loaded):
        super().__init__(comfy, "flux")
        self.loaded = loaded

    def model(self):
        return self.loaded.clone()


def in_fp8(comfy, _folder):
    """As UNETLoader loads it with weight_dtype fp8_e4m3fn."""
    return comfy.module("comfy.sd").load_diffusion_model(
        str(weights("flux")), model_options={"dtype": torch.float8_e4m3fn}
    )


def in_int8(comfy, folder):
    """From a file in ComfyUI's own format, one scale per row of the blocks' matrices, modulation left as it is."""
    if "int8_tensorwise" not in getattr(comfy.module("comfy.quant_ops"), "QUANT_ALGOS", {}):
        pytest.skip(f"ComfyUI {comfy.version} loads no int8 weights")
    state = load_file(weights("flux"))
    for name in [n for n, w in state.items() if "blocks." in n and "mod" not in n and w.ndim == 2]:
        weight = state[name].float()
        scale = weight.abs().amax(dim=1, keepdim=True) / 127
        state[name] = (weight / scale).round().to(torch.int8)
        state[f"{name}_scale"] = scale
        marker = json.dumps({"format": "int8_tensorwise"}).encode()
        state[name.removesuffix("weight") + "comfy_quant"] = torch.tensor(list(marker), dtype=torch.uint8)
    save_file(state, folder / "flux_int8.safetensors")
    return comfy.module("comfy.sd").load_diffusion_model(str(folder / "flux_int8.safetensors"))


@pytest.fixture(scope="module", params=FORMATS)
def quantised(comfy, request, tmp_path_factory):
    load = in_fp8 if request.param == "float8_e4m3fn" else in_int8
    with torch.inference_mode():  # as the executor of ComfyUI loads
        return Quantised(comfy, load(comfy, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def full(comfy):
    return Passes(comfy, "flux")


@dataclass
class Uncached:
    """What runs of some weights without a cache give: the latent of ``STEPS`` steps, and of a few, and the curve."""

    passes: Passes

    def __post_init__(self):
        self.latent, self.brief = (self.passes.sample(self.passes.model(), steps=n) for n in (STEPS, OFF_STEPS))
        self.curve = recorded(self.passes)

    def cached(self, name):
        """(latent, computed steps, distance from the uncached latent over its norm) of a policy."""
        passes, runs = self.passes, []
        config = loosened(passes.core, name, self.curve)
        latent = passes.sample(passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=runs), steps=STEPS)
        return latent, runs[0].computed, float((latent - self.latent).norm() / self.latent.norm())


@pytest.fixture(scope="module")
def on_full(comfy):
    """Full weights, each policy sampled once for all formats."""
    full = Uncached(Passes(comfy, "flux"))
    full.cached = lru_cache(maxsize=None)(full.cached)
    return full


@pytest.fixture(scope="module")
def uncached(quantised):
    return Uncached(quantised)


def test_the_weights_are_what_they_are_called(quantised, uncached, on_full):
    block = quantised.model().model.diffusion_model.double_blocks[0]
    weight = block.img_mlp[0].weight
    assert getattr(weight, "_qdata", weight).dtype in (torch.float8_e4m3fn, torch.int8)
    full = on_full.latent
    assert 0.001 < (uncached.latent - full).norm() / full.norm() < 0.5


@pytest.mark.parametrize("name", POLICIES)
def test_caching_costs_what_it_costs_on_full_weights(on_full, uncached, name):
    _, expected, usual = on_full.cached(name)
    latent, computed, moved = uncached.cached(name)
    assert torch.isfinite(latent).all()
    assert abs(computed - expected) <= STEPS_OFF
    assert 2 <= computed < STEPS or name in NEVER_AT_THIS_SIZE
    assert moved <= FURTHER * usual + ROOM


def test_threshold_0_changes_no_bit(quantised, uncached):
    core = quantised.core
    for name in ("dicache", "forecast"):  # any policy's threshold of 0 ends the rule before it looks at anything
        config = core.resolve("flux", threshold=0.0, policy=core.policies.chosen_policy(name, threshold=0.0))
        model = quantised.comfy.pack.model_patchers.attach(quantised.model(), config)
        assert torch.equal(quantised.sample(model, steps=OFF_STEPS), uncached.brief), name
