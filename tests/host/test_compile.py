"""torch.compile around the same model: right results, the decisions of eager, and no compiling without end."""

import logging

import pytest
import torch
from compiling import BLOCKS, WHOLE, compiled
from passes import STEPS, Passes, assert_close, some
from torch._dynamo.utils import counters

MODULES = {"flux": "comfy.ldm.flux.math", "wan": "comfy.ldm.wan.model"}


@pytest.fixture(params=MODULES)
def passes(request, comfy, monkeypatch):
    """With the attention that ComfyUI takes on GPUs: the one it takes on CPUs breaks every graph by itself."""
    attention = comfy.module("comfy.ldm.modules.attention").attention_pytorch
    monkeypatch.setattr(comfy.module(MODULES[request.param]), "optimized_attention", attention)
    return Passes(comfy, request.param)


@pytest.fixture(autouse=True)
def forget():
    """Each test compiles from nothing."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@torch.inference_mode()  # as the host runs its nodes
def graphs_per_step(passes, model, cfg):
    """Graphs compiled before the end of each step, and the latent."""
    module, seen = passes.comfy.module("comfy.sample"), []
    noise = module.prepare_noise(passes.latent(), 0)
    out = module.sample(
        model, noise, STEPS, cfg, "euler", "simple", passes.text(), passes.text(""), passes.latent(), seed=0,
        disable_pbar=True, callback=lambda *_: seen.append(graphs()),
    )  # fmt: skip
    return seen, out


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("what", [WHOLE, BLOCKS])
@pytest.mark.parametrize("first", ["compile", "cache"])
def test_right_results_and_no_compiling_without_end(passes, caplog, recwarn, what, first, cfg):
    eager = passes.sample(passes.cached(), cfg=cfg)
    decisions = passes.decisions()
    assert some(passes.run)
    model = passes.cached(compiled(passes.comfy, passes.model(), what))
    if first == "cache":
        model = compiled(passes.comfy, passes.cached(), what)
    with caplog.at_level(logging.WARNING):
        seen, out = graphs_per_step(passes, model, cfg)
    assert_close(out, eager, 1e-4)
    assert passes.decisions() == decisions
    assert seen[-1] > 0, "nothing was compiled"
    assert seen[2:] == [seen[2]] * (STEPS - 2), "compiled again after the third step"
    assert seen[-1] <= 6, "more than a few kinds of blocks"
    passes.sample(model, seed=1, cfg=cfg)
    assert graphs() == seen[-1], "the next run compiled again"
    assert [r.message for r in caplog.records if "torch" in r.name and r.levelno >= logging.WARNING] == []
    assert [str(w.message) for w in recwarn if "Dynamo" in str(w.message)] == []


def test_a_model_that_was_compiled_and_run_before_the_cache_came(passes):
    """The host takes no notice of wrappers in what a whole model's graph depends on."""
    plain, cached = passes.sample(passes.model()), passes.sample(passes.cached())
    decisions = passes.decisions()
    whole = compiled(passes.comfy, passes.model(), WHOLE)
    assert_close(passes.sample(whole), plain, 1e-4)
    assert graphs() > 0
    for _ in range(2):
        assert_close(passes.sample(passes.cached(whole)), cached, 1e-4)
        assert passes.decisions() == decisions
        assert_close(passes.sample(passes.cached(whole, threshold=0.0)), plain, 1e-4)
        assert_close(passes.sample(whole), plain, 1e-4)
    network = whole.model.diffusion_model
    assert not [m for m in network.modules() if hasattr(m, "_orig_mod")], "something compiled was left in the model"


def test_a_fault_leaves_the_network_as_it_was(passes):
    model = passes.cached(compiled(passes.comfy, passes.model(), WHOLE))
    network = model.model.diffusion_model
    before = dict(network.named_modules())

    def broken(args, extra):
        raise RuntimeError("broken patch")

    patched = model.clone()
    patched.set_model_patch_replace(broken, "dit", "double_block", 2)
    with pytest.raises(RuntimeError, match="broken patch"):
        passes.sample(patched)
    assert model.model.diffusion_model is network
    assert dict(network.named_modules()) == before


@pytest.mark.slow  # a minute: code is made
@pytest.mark.parametrize("what", [WHOLE, BLOCKS])
def test_inductor(passes, what):
    eager = passes.sample(passes.cached())
    decisions = passes.decisions()
    model = passes.cached(compiled(passes.comfy, passes.model(), what, "inductor"))
    for _ in range(2):
        assert_close(passes.sample(model), eager, 1e-3)
        assert passes.decisions() == decisions
