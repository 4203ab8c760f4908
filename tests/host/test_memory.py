"""ComfyUI's memory manager and the cache: asked beforehand, placed where there is room, given up where none is."""

import logging
import sys

import pytest
import torch
from passes import ARCHITECTURES, STEPS, Passes


@pytest.fixture
def passes(comfy, pack):
    return Passes(comfy, "flux")


@pytest.fixture
def asked(comfy, monkeypatch):
    """(memory required, minimum) that each run asked for before its models were placed."""
    management, seen = comfy.module("comfy.model_management"), []
    load = management.load_models_gpu

    def watch(models, memory_required=0, minimum_memory_required=None, **kwargs):
        seen.append((memory_required, minimum_memory_required))
        return load(models, memory_required=memory_required, minimum_memory_required=minimum_memory_required, **kwargs)

    monkeypatch.setattr(management, "load_models_gpu", watch)
    return seen


def tokens_of(latent):
    return latent[0, 0].numel() // 4  # patches of 2 by 2, frames alone


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_estimate_grows_by_the_formula(comfy, pack, asked, architecture, cfg):
    passes = Passes(comfy, architecture)
    latent = passes.latent(batch=2)
    for model in (passes.model(), passes.cached(), passes.cached(cache_device="cpu"), passes.cached(threshold=0.0)):
        passes.sample(model, latent=latent, steps=4, cfg=cfg)
    plain, cached, elsewhere, never = asked
    samples = 2 * (1 if cfg == 1.0 else 2)
    core, sizes = pack.dicache_core, (tokens_of(latent), 128, torch.float32, samples, latent[0].numel())
    for run, asked_for, in_main_memory in zip(passes.runs, (cached, elsewhere), (False, True), strict=False):
        formula = core.engine.memory.CacheMemory(run.config, *sizes).peak_bytes(in_main_memory=in_main_memory)
        assert [c - p for c, p in zip(asked_for, plain, strict=True)] == [formula, formula]
    assert never == plain
    held = [run.held_bytes for run in passes.runs]
    assert held[0] == core.engine.memory.CacheMemory(passes.runs[0].config, *sizes).expected_bytes(), (
        "the formula is not what was held"
    )


def test_auto_goes_to_main_memory_where_the_device_has_no_room(comfy, passes, monkeypatch, caplog):
    memory = sys.modules[f"{comfy.pack.model_patchers.__name__}.memory"]
    places = []
    end = sys.modules[f"{comfy.pack.model_patchers.__name__}.apply_model"].CachedPass.__call__

    def watch(self, *args, **kwargs):
        places.append(self.session.run.storage.in_main_memory)
        return end(self, *args, **kwargs)

    monkeypatch.setattr(sys.modules[f"{comfy.pack.model_patchers.__name__}.apply_model"].CachedPass, "__call__", watch)
    latents = []
    for room, cache_device in [(True, "auto"), (False, "auto"), (False, "gpu"), (True, "cpu")]:
        monkeypatch.setattr(memory, "_has_room", lambda *_, room=room: room)
        places.clear()
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="dicache"):
            latents.append(passes.sample(passes.cached(cache_device=cache_device)))
        assert ("It goes to main memory" in caplog.text) == (cache_device == "auto" and not room)
        expected = cache_device == "cpu" or (cache_device == "auto" and not room)
        assert places == [expected] * STEPS
    assert all(torch.equal(latent, latents[0]) for latent in latents)


class Device:
    type = "cuda"


class Placed:
    """A ModelPatcher on a GPU, as far as the question of room goes."""

    def __init__(self, dynamic=False, device=Device):
        self.load_device, self.model, self.dynamic = device, self, dynamic

    def memory_required(self, shape):
        return 1000 * shape[0]

    def is_dynamic(self):
        return self.dynamic


def test_room_is_what_is_free_beside_the_activations(comfy, monkeypatch):
    memory = sys.modules[f"{comfy.pack.model_patchers.__name__}.memory"]
    monkeypatch.setattr(memory, "get_free_memory", lambda device: 2120)
    assert memory._has_room(Placed(), [2, 16, 8, 8], 100)
    assert not memory._has_room(Placed(), [2, 16, 8, 8], 115)
    assert memory._has_room(Placed(dynamic=True), [2, 16, 8, 8], 10**12)
    assert memory._has_room(Placed(device=torch.device("cpu")), [2, 16, 8, 8], 10**12)


@pytest.mark.parametrize("where", ["enter", "complete"])
def test_running_out_of_memory_costs_the_cache_and_not_the_run(comfy, pack, passes, monkeypatch, caplog, where):
    """The third pass finds no memory; what comes out is what comes out without the node from there on."""
    plain = passes.sample(passes.model())
    out_of_memory = comfy.module("comfy.model_management").OOM_EXCEPTION
    count = 0

    def fail(self, *args):
        nonlocal count
        count += 1
        if count >= 3:
            raise out_of_memory("injected")
        return original(self, *args)

    target = pack.dicache_core.engine.storage.Storage if where == "complete" else pack.dicache_core.ForwardPass
    name = "keep" if where == "complete" else "_probe_tokens"
    original = getattr(target, name)
    monkeypatch.setattr(target, name, fail)
    with caplog.at_level(logging.WARNING, logger="dicache"):
        out = passes.sample(passes.cached(threshold=9.0, warmup_steps=4))
    assert torch.equal(out, plain)
    assert [r.message for r in caplog.records if "no memory left for the cache" in r.message] == [
        "DiCache: no memory left for the cache (injected). The rest of this run is computed."
    ]
    assert passes.run.reused == 0
    reasons = [d.reason for p in passes.run.passes for d in p.decisions]
    assert len(reasons) == STEPS
    assert reasons[-1] == "out of memory"
    assert passes.run.finished
    monkeypatch.undo()
    again = passes.sample(passes.cached(threshold=9.0, warmup_steps=4))
    assert passes.run.reused > 0, "the next run starts afresh"
    assert not torch.equal(again, plain)


def test_running_out_of_memory_inside_the_model_is_the_models(comfy, passes):
    model = passes.model()
    out_of_memory = comfy.module("comfy.model_management").OOM_EXCEPTION

    def fail(*_):
        raise out_of_memory("the model's own")

    handle = model.model.diffusion_model.double_blocks[2].register_forward_pre_hook(fail)
    try:
        with pytest.raises(out_of_memory, match="the model's own"):
            passes.sample(passes.cached(model))
    finally:
        handle.remove()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_8_bit_residuals_stay_close(comfy, pack, architecture):
    """Measured on the testbed: decisions are the same, and the latent moves far less than by caching itself."""
    passes = Passes(comfy, architecture)
    plain = passes.sample(passes.model())
    exact, packed = (passes.sample(passes.cached(residual_bits=bits)) for bits in (16, 8))
    assert passes.runs[0].cells[0:4] == passes.runs[1].cells[0:4]
    assert passes.runs[1].reused > 0
    change, caching = (packed - exact).norm() / plain.norm(), (exact - plain).norm() / plain.norm()
    assert 0 < change < 0.1 * caching
    print(f"{architecture}: 8-bit residuals {change:.5f}, caching {caching:.5f} of the latent's norm")
