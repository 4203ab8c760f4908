"""torch.compile around the same model: right results, eager's decisions, and no compiling without end.

The host's node compiles the whole model; its helper compiles parts of it by name, here every block.  The backend
"eager" only traces, which is what decides about breaks and recompilation; "inductor" also makes code.
"""

import logging

import pytest
import torch
from passes import STEPS, Passes, assert_close, some
from torch._dynamo.utils import counters

pytestmark = pytest.mark.slow  # minutes, not seconds

ALL, BLOCKS = "whole model", "per block"


@pytest.fixture(params=["flux", "wan"])
def passes(request, comfy):
    return Passes(comfy, request.param)


@pytest.fixture(autouse=True)
def forget():
    """Each test compiles from nothing."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled(passes, model, what, backend="eager"):
    """``model`` as the host's TorchCompileModel makes it, for all or for every block."""
    helpers = passes.comfy.module("comfy_api.torch_helpers")
    node = passes.comfy.module("comfy_extras.nodes_torch_compile")
    network = model.model.diffusion_model
    stacks = [name for name in ("double_blocks", "single_blocks", "blocks") if hasattr(network, name)]
    keys = [f"diffusion_model.{name}.{i}" for name in stacks for i in range(len(getattr(network, name)))]
    compiled = model.clone()
    options = {"guard_filter_fn": node.skip_torch_compile_dict}
    keys = ["diffusion_model"] if what == ALL else keys
    helpers.set_torch_compile_wrapper(compiled, backend, options=options, keys=keys)
    return compiled


def graphs_per_step(passes, model) -> list[int]:
    """Graphs compiled before the end of each step."""
    module, seen = passes.comfy.module("comfy.sample"), []
    noise = module.prepare_noise(passes.latent(), 0)
    out = module.sample(
        model, noise, STEPS, 1.0, "euler", "simple", passes.text(), passes.text(""), passes.latent(), seed=0,
        disable_pbar=True, callback=lambda *_: seen.append(counters["stats"]["unique_graphs"]),
    )  # fmt: skip
    return seen, out


@pytest.mark.parametrize("what", [ALL, BLOCKS])
@pytest.mark.parametrize("first", ["compile", "cache"])
def test_right_results_and_no_compiling_without_end(passes, caplog, what, first):
    eager = passes.sample(passes.cached())
    decisions = passes.decisions()
    assert some(passes.run)
    model = passes.cached(compiled(passes, passes.model(), what))
    if first == "cache":
        model = compiled(passes, passes.cached(), what)
    with caplog.at_level(logging.WARNING):
        graphs, out = graphs_per_step(passes, model)
    assert_close(out, eager, 1e-4)
    assert passes.decisions() == decisions
    assert graphs[-1] > 0, "nothing was compiled"
    assert graphs[2:] == [graphs[2]] * (STEPS - 2), "compiled again after the third step"
    assert len([r for r in caplog.records if "torch" in r.name]) <= 2, caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("what", [ALL, BLOCKS])
def test_inductor(passes, what):
    eager = passes.sample(passes.cached())
    decisions = passes.decisions()
    model = passes.cached(compiled(passes, passes.model(), what, "inductor"))
    assert_close(passes.sample(model), eager, 1e-3)
    assert passes.decisions() == decisions
