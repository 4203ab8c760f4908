"""Another step cache on the same model: DiCache skips nothing and says what to remove."""

import logging

import pytest
import torch
from passes import Passes

STEPS = 16


@pytest.fixture
def passes(comfy, pack):
    return Passes(comfy, "flux")


def with_easycache(passes, model):
    return passes.extra("nodes_easycache.EasyCacheNode", model, 0.5, 0.15, 0.95, False)


def with_lazycache(passes, model):
    return passes.extra("nodes_easycache.LazyCacheNode", model, 0.5, 0.15, 0.95, False)


def around_the_model(apply_model, arguments):
    return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


def with_wrapper(name):
    """As packs do it that give the model another forward for the length of a call."""

    def put_on(passes, model):
        def wrapper(apply_model, arguments):
            return around_the_model(apply_model, arguments)

        wrapper.__module__ = f"/ComfyUI/custom_nodes/{name}.nodes"
        clone = model.clone()
        clone.set_model_unet_function_wrapper(wrapper)
        return clone

    return put_on


def with_another_forward(passes, model):
    """As packs do it that replace the network's own function."""
    forward = model.model.diffusion_model.forward_orig

    def magcache_forward(*args, **kwargs):
        return forward(*args, **kwargs)

    clone = model.clone()
    clone.add_object_patch("diffusion_model.forward_orig", magcache_forward)
    return clone


OTHERS = {
    "EasyCache": with_easycache,
    "LazyCache": with_lazycache,
    "TeaCache": with_wrapper("ComfyUI-TeaCache"),
    "First Block Cache (WaveSpeed)": with_wrapper("Comfy-WaveSpeed.fbcache_nodes"),
    "MagCache": with_another_forward,
}


def cached(passes, preset, model=None):
    config = passes.core.presets.preset_config(preset, "flux")
    return passes.comfy.pack.model_patchers.attach(model or passes.model(), config, runs=passes.runs)


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_is_skipped_beside_a_known_one(passes, pack, name, caplog):
    other = OTHERS[name]
    alone = passes.sample(other(passes, passes.model()), steps=STEPS)
    for preset, build in (
        ("balanced", lambda: other(passes, cached(passes, "balanced"))),
        ("published", lambda: cached(passes, "published", other(passes, passes.model()))),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="dicache"):
            assert torch.equal(passes.sample(build(), steps=STEPS), alone), preset
        assert passes.core.explain.why_nothing(passes.run) == passes.core.explain.Nothing("other cache", other=name)
        assert f"{name} is on the same model" in pack.dicache_nodes.rendering.describe(passes.run)
        assert [name in r.getMessage() for r in caplog.records if r.name == "dicache"] == [True]


def answering_from_memory(executor, *args, **kwargs):
    """An unknown one, at every third call from the fourth on."""
    memory = answering_from_memory.__dict__
    memory["calls"] = memory.get("calls", 0) + 1
    if memory["calls"] < 4 or memory["calls"] % 3:
        memory["last"] = executor(*args, **kwargs)
    return memory["last"].clone()


@pytest.mark.parametrize("preset", ["balanced", "published"])
def test_an_unknown_one_is_noticed_when_it_answers_for_the_network(passes, pack, preset):
    kinds = passes.comfy.module("comfy.patcher_extension").WrappersMP
    answering_from_memory.__dict__.clear()
    model = cached(passes, preset)
    model.add_wrapper_with_key(kinds.DIFFUSION_MODEL, "unheard-of", answering_from_memory)
    passes.sample(model, steps=STEPS)
    found = passes.core.explain.why_nothing(passes.run)
    assert found.reason == "other cache"
    assert "answering_from_memory" in found.other
    first = min(p.step.step_index for p in passes.run.passes if "other cache" in {d.reason for d in p.decisions})
    assert "r" not in passes.run.cells[first:]
    assert "answering_from_memory" in pack.dicache_nodes.rendering.describe(passes.run)


def looks_on(executor, *args, **kwargs):
    return executor(*args, **kwargs)


def test_a_wrapper_that_only_looks_on_is_no_cache(passes):
    kinds = passes.comfy.module("comfy.patcher_extension").WrappersMP
    watched = cached(passes, "balanced")
    watched.add_wrapper_with_key(kinds.DIFFUSION_MODEL, "looks on", looks_on)
    assert torch.equal(passes.sample(watched, steps=STEPS), passes.sample(cached(passes, "balanced"), steps=STEPS))
    assert [run.other_cache for run in passes.runs] == [None, None]
    assert passes.runs[0].cells == passes.runs[1].cells
    assert passes.run.reused > 0


@pytest.mark.parametrize("preset", ["balanced", "published"])
def test_a_hook_that_brings_a_wrapper_for_some_calls_is_no_cache(passes, preset):
    """The positive cond has one around it, the negative one none: the calls of the one say nothing of the other's."""
    hooks, extension = passes.comfy.module("comfy.hooks"), passes.comfy.module("comfy.patcher_extension")
    wrappers = {extension.WrappersMP.DIFFUSION_MODEL: {"looks on": [looks_on]}}
    group = hooks.HookGroup()
    group.add(hooks.TransformerOptionsHook({"wrappers": wrappers}, hook_scope=hooks.EnumHookScope.HookedOnly))
    positive = hooks.set_conds_props(
        [passes.text()], strength=1.0, set_cond_area="default", mask=None, hooks=group, timesteps_range=None
    )[0]
    for text in (positive, passes.text()):
        passes.sample(cached(passes, preset), text, cfg=3.0, steps=STEPS)
    hooked, plain = passes.runs
    assert len(hooked.passes) == 2 * len(plain.passes), "calls with it and calls without"
    assert (hooked.other_cache, hooked.cells) == (None, plain.cells)
    assert hooked.reused > 0


def test_a_second_network_that_comes_to_no_wrapper_is_no_cache(comfy, pack):
    """Not every model asks for wrappers of its forward: the first one's calls say nothing of the second one's."""
    first, second = Passes(comfy, "wan"), Passes(comfy, "hunyuan_video")
    kinds = comfy.module("comfy.patcher_extension").WrappersMP
    model, other = cached(first, "balanced"), second.model()
    other.add_object_patch("diffusion_model.forward", other.model.diffusion_model._forward)
    for patcher in (model, other):
        patcher.add_wrapper_with_key(kinds.DIFFUSION_MODEL, "looks on", looks_on)
    guider = first.extra("nodes_custom_sampler.DualModelGuider", model, first.text(), 2.0, other, second.text(""))
    sigmas = first.extra("nodes_custom_sampler.BasicScheduler", first.model(), "simple", STEPS, 1.0)
    noise = comfy.module("comfy.sample").prepare_noise(first.latent(), 4)
    with torch.inference_mode():
        guider.sample(
            noise, first.latent(), comfy.module("comfy.samplers").sampler_object("euler"), sigmas, disable_pbar=True
        )
    assert (first.run.other_cache, first.run.reused > 0) == (None, True)
