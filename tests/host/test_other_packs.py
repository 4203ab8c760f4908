"""Other nodes' patches around ours, before and after, on the first block, the probe's and the last; and ControlNet."""

import sys

import pytest
import torch
from passes import ARCHITECTURES, COMPOSED, Passes, assert_close, some

STEPS = 8


@pytest.fixture(params=ARCHITECTURES)
def passes(request, comfy):
    return Passes(comfy, request.param)


class Neighbour:
    """A block replacement of another node's, which counts its calls and changes what the block gives."""

    def __init__(self, scale: float):
        self.scale, self.calls = scale, 0

    def __call__(self, args, extra):
        self.calls += 1
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * self.scale}

    def put_on(self, model, passes, place: str):
        """A clone of ``model`` with this patch on the first, the second or the last block."""
        blocks = passes.comfy.pack.model_patchers.family_of(model.model.diffusion_model).blocks(
            model.model.diffusion_model
        )
        kind, index = blocks[{"first": 0, "second": 1, "last": -1}[place]].key
        clone = model.clone()
        clone.set_model_patch_replace(self, "dit", kind, index)
        return clone


@pytest.mark.parametrize("place", ["first", "second", "last"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_foreign_patch_is_composed(passes, place, order):
    def build(threshold, probe_depth=1):
        neighbour = Neighbour(1.01)
        settings = dict(threshold=threshold, probe_depth=probe_depth)
        if order == "before":
            return neighbour, passes.cached(neighbour.put_on(passes.model(), passes, place), **settings)
        return neighbour, neighbour.put_on(passes.cached(**settings), passes, place)

    plain = passes.sample(Neighbour(1.01).put_on(passes.model(), passes, place), steps=STEPS)
    assert not torch.equal(plain, passes.sample(passes.model(), steps=STEPS)), "the foreign patch did nothing"
    neighbour, model = build(COMPOSED)
    assert torch.equal(passes.sample(model, steps=STEPS), plain)
    assert neighbour.calls == STEPS
    neighbour, model = build(0.3, probe_depth=2)  # the second block is the probe's last one
    assert passes.sample(model, steps=STEPS).isfinite().all()
    assert passes.run.reused > 0
    in_probe = place in ("first", "second")
    assert neighbour.calls == (STEPS if in_probe else passes.run.computed), "skipped steps have to skip it too"


def test_order_of_nodes_does_not_matter(passes):
    before = passes.cached(Neighbour(1.01).put_on(passes.model(), passes, "last"))
    after = Neighbour(1.01).put_on(passes.cached(), passes, "last")
    assert torch.equal(passes.sample(before, steps=STEPS), passes.sample(after, steps=STEPS))
    assert some(passes.run)
    assert passes.decisions(passes.runs[0]) == passes.decisions(passes.runs[1])


def test_patch_list_of_another_node_still_runs(passes):
    """Patches inside the blocks are none of our business and stay in force in computed blocks."""
    seen = []

    def of_query(q, k, v, **others):
        seen.append("query")
        return {"q": q * 1.1, "k": k, "v": v, **others}

    def of_output(args):
        seen.append("output")
        return args["x"] * 1.01

    def patched(model):
        clone = model.clone()
        if passes.architecture == "wan":
            clone.set_model_patch(of_output, "attn2_patch")
        else:
            clone.set_model_patch(of_query, "attn1_patch")
        return clone

    plain = passes.sample(patched(passes.model()), steps=5)
    if not seen:
        pytest.skip("this model calls no attention patches in this ComfyUI")
    assert torch.equal(passes.sample(patched(passes.cached(threshold=COMPOSED)), steps=5), plain)


@pytest.mark.parametrize("settings", [
    dict(warmup_steps=0),
    dict(indicator="profilingdit", predictor="reuse", mask="double 1, single 0-2"),
    dict(indicator="h2cache", predictor="reuse", warmup_steps=0),
], ids=lambda settings: settings.get("indicator", "dicache"))  # fmt: skip
def test_a_wrapper_that_asks_the_network_twice_in_a_pass_ends_the_cache(comfy, caplog, settings):
    """Which of the two answers a history is of, nobody can tell."""
    passes, model = Passes(comfy, "flux"), Passes(comfy, "flux").model()
    wrappers = comfy.module("comfy.patcher_extension").WrappersMP

    def twice(executor, *args, **kwargs):
        return (executor(*args, **kwargs) + executor(*args, **kwargs)) / 2

    model.add_wrapper_with_key(wrappers.DIFFUSION_MODEL, "another pack", twice)
    plain = passes.sample(model, steps=STEPS)
    assert torch.equal(passes.sample(passes.cached(model, threshold=1e9, **settings), steps=STEPS), plain)
    assert {len(passed.decisions) for passed in passes.run.passes} == {1}
    assert passes.run.passes[-1].decisions[0].reason == "blocks run several times"
    assert len([r for r in caplog.records if "several times in one step" in r.message]) == 1


# ---------------------------------------------------------------- ControlNet


def toy_control(comfy, blocks: dict[str, int], tokens: int, width: int, strength: float):
    """A control that adds fixed noise after every block, the last one too."""
    base = comfy.module("comfy.controlnet").ControlBase

    class ToyControl(base):
        def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
            generator = torch.Generator().manual_seed(5)
            shape = (len(x_noisy), tokens, width)
            return {
                kind: [strength * torch.randn(shape, generator=generator) for _ in range(count)]
                for kind, count in blocks.items()
            }

        def copy(self):
            return self

    return ToyControl()


@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video"])
def test_control_after_every_block(comfy, architecture):
    passes = Passes(comfy, architecture)
    model = passes.model().model.diffusion_model
    blocks = {"input": len(model.double_blocks), "output": len(model.single_blocks)}
    tokens = {"flux": 64, "hunyuan_video": 48}[architecture]

    def controlled(strength):
        control = toy_control(comfy, blocks, tokens, model.hidden_size, strength)
        return [[c, {**extras, "control": control, "control_apply_to_uncond": True}] for c, extras in passes.text()]

    plain = passes.sample(passes.model(), controlled(0.3))
    assert not torch.equal(plain, passes.sample(passes.model())), "the control did nothing"
    assert torch.equal(passes.sample(passes.cached(threshold=COMPOSED), controlled(0.3)), plain)
    cached = passes.sample(passes.cached(threshold=0.1), controlled(0.3))
    assert passes.run.reused > 0
    # What the control adds behind the last block acts on the estimate too, so the result stays near the plain one.
    off_by = (cached - plain).abs().mean() / plain.abs().mean()
    assert off_by < 0.25 * (passes.sample(passes.model()) - plain).abs().mean() / plain.abs().mean()


@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video"])
def test_control_behind_the_last_block_acts_on_the_estimate(comfy, architecture):
    """One control on the last block only: a skipped pass of a still picture gives the computed pass's result."""
    passes = Passes(comfy, architecture)
    model, core = passes.model(), passes.core
    patchers = comfy.pack.model_patchers

    def part(name):  # the package's attribute "attach" is the function
        return sys.modules[f"{patchers.__name__}.{name}"]

    network = model.model.diffusion_model
    runs = core.CacheSession(
        core.CacheConfig(threshold=1e9, warmup_steps=0), core.schedule.Schedule((1.0, 0.9, 0.8, 0.7))
    )
    family = patchers.family_of(network)
    x, tokens = torch.randn_like(passes.latent()), {"flux": 64, "hunyuan_video": 48}[architecture]
    last = [None] * (len(network.single_blocks) - 1) + [torch.randn(1, tokens, network.hidden_size)]

    def forward(step, control):
        cache = runs.forward([core.SampleKey("one", 0)], runs.schedule.step_at(1 - step / 10), x)
        (context, extras), *_ = passes.text()
        with torch.inference_mode(), part("stack").stack_around(family, network, cache):
            out = network(
                x.clone(), torch.tensor([0.5]), context, y=extras["pooled_output"], guidance=torch.tensor([3.5]),
                control=control, transformer_options={},
            )  # fmt: skip
        runs.close(cache, core.timing.Stopwatch(x.device))
        return out

    control = {"input": [None] * len(network.double_blocks), "output": last}
    computed, reused = forward(0, control), forward(1, control)
    assert [p.reused for p in runs.statistics.passes] == [0, 1]
    assert_close(reused, computed)
    assert not torch.equal(forward(2, {"input": [], "output": []}), reused), "the control did nothing"
