"""One MODEL, many uses: samplers, branches, LoRAs, clones, unloading; nothing of one use shows in another."""

import io

import pytest
import torch
from demo_graph import APPLY, SAVE, demo_graph
from passes import STEPS, Passes, some
from PIL import Image

WEIGHT = "diffusion_model.double_blocks.1.img_mlp.0.weight"


@pytest.fixture
def passes(comfy):
    return Passes(comfy, "flux")


def fresh(passes, model=None, **settings):
    """What a model of its own gives, and how its steps went."""
    seed = settings.pop("seed", 0)
    out = passes.sample(passes.cached(model, **settings), seed=seed)
    return out, passes.decisions()


def lora(passes, strength: float):
    """A toy LoRA, put on as the host's loader does."""

    def put_on(model):
        shape = model.model.state_dict()[WEIGHT].shape
        up = torch.randn(shape[0], 2, generator=torch.Generator().manual_seed(0))
        down = torch.randn(2, shape[1], generator=torch.Generator().manual_seed(1))
        patched = model.clone()
        assert patched.add_patches({WEIGHT: ("diff", (up @ down,))}, strength) == [WEIGHT]
        return patched

    return put_on


def test_two_samplers(passes):
    """Each sampling run has a cache of its own, also when both start from one MODEL output."""
    model = passes.cached()
    for seed in (0, 1, 0):
        out = passes.sample(model, seed=seed)
        decisions = passes.decisions()
        alone, its_decisions = fresh(passes, seed=seed)
        assert torch.equal(out, alone)
        assert decisions == its_decisions
    assert some(passes.runs[0])


def test_a_sampler_inside_another_one(passes, comfy):
    """A callback that samples, as previews do, disturbs neither run.

    With another model: the host itself cannot sample twice with one set of weights at a time.
    """
    inside, inner = Passes(comfy, "wan"), []
    alone, other = fresh(passes)[0], fresh(inside)[0]
    model = passes.cached()
    module = comfy.module("comfy.sample")
    outer = module.sample(
        model, module.prepare_noise(passes.latent(), 0), STEPS, 1.0, "euler", "simple", passes.text(), passes.text(""),
        passes.latent(), disable_pbar=True, seed=0,
        callback=lambda step, *_: inner.append(fresh(inside)[0]) if step in (1, 4, 7) else None,
    )  # fmt: skip
    assert torch.equal(outer, alone)
    assert len(inner) == 3
    assert all(torch.equal(latent, other) for latent in inner)


def test_two_nodes_on_branches_of_one_model(passes):
    base = passes.model()
    settings = [
        dict(threshold=0.2),
        dict(threshold=0.6),
        dict(threshold=0.2, indicator="delta_minus"),
        dict(threshold=0.0),
    ]
    expected = [fresh(passes, **s) for s in settings]
    plain = passes.sample(passes.model())
    branches = [passes.cached(base, **s) for s in settings]
    for turn in (0, 1, 2, 3, 1, 0):
        assert torch.equal(passes.sample(branches[turn]), expected[turn][0])
        assert passes.decisions() == expected[turn][1]
        assert torch.equal(passes.sample(base), plain), "the model before the nodes has changed"
    assert len({str(decisions) for _, decisions in expected}) == 4, "the settings make no difference: nothing is shown"


@pytest.mark.parametrize("strength", [0.02, -0.01])
def test_a_lora_before_and_after(passes, strength):
    put_on = lora(passes, strength)
    plain, without = passes.sample(passes.model()), fresh(passes)[0]
    before, decisions = fresh(passes, put_on(passes.model()))
    assert not torch.allclose(before, without, atol=1e-3), "the LoRA does nothing"
    after = passes.sample(put_on(passes.cached()))
    assert torch.equal(after, before)
    assert passes.decisions() == decisions
    lora_alone = passes.sample(put_on(passes.model()))
    assert torch.equal(passes.sample(passes.cached(put_on(passes.model()), threshold=1e-30)), lora_alone)
    assert torch.equal(passes.sample(passes.model()), plain), "the LoRA stayed"
    assert torch.equal(fresh(passes)[0], without)


def test_a_lora_between_two_runs_of_one_model(passes):
    model = passes.cached()
    first = passes.sample(model)
    passes.sample(lora(passes, 0.02)(model))
    assert torch.equal(passes.sample(model), first)


def test_clones(passes):
    model = passes.cached()
    expected = passes.sample(model)
    decisions = passes.decisions()
    clone = model.clone()
    for candidate in (clone, clone.clone(), model):
        assert torch.equal(passes.sample(candidate), expected)
        assert passes.decisions() == decisions
    assert torch.equal(passes.sample(passes.comfy.pack.model_patchers.detach(clone)), passes.sample(passes.model()))


def test_deepclones(passes):
    """Another copy of the weights with the same node, as the host makes for a second device."""
    model = passes.cached()
    if not hasattr(model, "deepclone_multigpu"):
        pytest.skip(f"ComfyUI {passes.comfy.version} has no deepclone_multigpu")
    deep = model.deepclone_multigpu()
    assert deep.model is not model.model
    expected = passes.sample(model)
    decisions = passes.decisions()
    assert torch.equal(passes.sample(deep), expected)
    assert passes.decisions() == decisions


def test_unloaded_between_samplers(passes):
    management = passes.comfy.module("comfy.model_management")
    model = passes.cached()
    expected = passes.sample(model)
    management.unload_all_models()
    assert torch.equal(passes.sample(model), expected)


def test_unloaded_and_reloaded_between_steps_of_a_graph(passes):
    """Two samplers that share the schedule, and a node in between that throws every model out."""
    management = passes.comfy.module("comfy.model_management")
    first = dict(disable_noise=False, start_step=0, last_step=6, force_full_denoise=False)
    second = dict(disable_noise=True, start_step=6, last_step=STEPS, force_full_denoise=True)

    def run(unload):
        model = passes.cached()
        middle = passes.sample(model, **first)
        if unload:
            management.unload_all_models()
        return passes.sample(model, latent=middle, **second), [passes.decisions(r) for r in passes.runs[-2:]]

    stayed, reloaded = run(False), run(True)
    assert torch.equal(stayed[0], reloaded[0])
    assert stayed[1] == reloaded[1]


def test_the_host_reuses_the_model_in_the_next_prompt(server, captions):
    """ComfyUI keeps the node's output: prompts that only change the seed sample with the very same MODEL."""

    def picture(seed, threshold=-1.0):
        graph = demo_graph(captions[0], steps=10, seed=seed)
        graph[APPLY]["inputs"] |= {"preset": "published", "threshold": threshold}
        run = server.run(graph)
        assert run.error is None
        ran = {data["node"] for data in run.data("executing")}
        pixels = Image.open(io.BytesIO(server.image(run.outputs[SAVE]["images"][0]))).tobytes()
        return ran, pixels, run.data("dicache.step")[-1]["cells"]

    _, first, _ = picture(seed=31)
    ran, second, cells = picture(seed=32)
    assert APPLY not in ran, "the host made the MODEL again, so this shows nothing"
    assert second != first
    # 0.4 is what -1 stands for: another node output, made from nothing, with the same settings.
    ran, again, its_cells = picture(seed=32, threshold=0.4)
    assert APPLY in ran
    assert (again, its_cells) == (second, cells)
