"""Faults in the middle of a run: it ends as without the node or goes on, and the next run knows nothing of it."""

import math

import pytest
import torch
from leak_tracker import watching
from passes import STEPS, Passes, some

PROBED = ("double_block", 0)  # runs on every step
BLOCK = ("double_block", 2)  # behind the probe: it does not run on skipped steps
MOMENTS = (0, 2, 5, STEPS - 1)  # the first step, the first behind the warm-up, one in the midst and the last


class FaultError(RuntimeError):
    """The injected one."""


class ForeignPatch:
    """Another node's replacement of a block that misbehaves at its ``at``-th call, once or for good.

    Attributes:
        act: what it does to the block's result, ``{"img": (N, T, D), ...}``; may raise.
    """

    def __init__(self, act, at: int, once: bool = True) -> None:
        self.act, self.at, self.once, self.calls = act, at, once, 0

    def __call__(self, args, extra):
        self.calls += 1
        out = extra["original_block"](args)
        if self.calls == self.at + 1 or (not self.once and self.calls > self.at):
            self.act(out)
        return out

    def put_on(self, model, block=BLOCK):
        patched = model.clone()
        patched.set_model_patch_replace(self, "dit", *block)
        return patched


def raising(error, message):
    """A new error each time: one that is kept would keep its traceback, and that all that its frames held."""

    def act(out):
        raise error(message)

    return act


def nothing(out):
    pass


@pytest.fixture
def passes(comfy):
    return Passes(comfy, "flux")


@pytest.fixture
def held(pack):
    with watching(pack) as held:
        yield held


@pytest.fixture(scope="module")
def clean(comfy):
    """What comes out when nothing goes wrong: without the node, with it, and with it beside a harmless patch."""
    passes = Passes(comfy, "flux")
    plain, cached = passes.sample(passes.model()), passes.sample(passes.cached())
    assert some(passes.run)
    beside = passes.sample(passes.cached(ForeignPatch(nothing, 0).put_on(passes.model())))
    assert torch.equal(beside, cached)
    return {"plain": plain, "cached": cached}


def check_afterwards(passes, held, clean, model=None):
    assert held.alive == 0, "something of the broken run is still allocated"
    assert passes.run.finished
    assert torch.equal(passes.sample(model or passes.cached()), clean["cached"]), "the next run is another one"
    assert len(held.refs) > 0, "nothing was watched"


@pytest.fixture
def progress(passes):
    """The hook that ComfyUI's main.py gives its progress bars; here is where a run notices the stop button."""
    management, utils = (passes.comfy.module(f"comfy.{name}") for name in ("model_management", "utils"))
    before = utils.PROGRESS_BAR_HOOK
    utils.set_progress_bar_global_hook(lambda *_, **__: management.throw_exception_if_processing_interrupted())
    yield management
    utils.set_progress_bar_global_hook(before)
    management.interrupt_current_processing(False)


@pytest.mark.parametrize("step", MOMENTS)
def test_the_stop_button(passes, held, clean, progress, step):
    """Pressed while a step's probe runs."""
    patch = ForeignPatch(lambda out: progress.interrupt_current_processing(), step)
    model = passes.cached(patch.put_on(passes.model(), PROBED))
    with pytest.raises(progress.InterruptProcessingException):
        passes.sample(model)
    assert patch.calls == step + 1
    assert len(passes.run.passes) - step in (0, 1), "the host may notice it inside the pass or behind it"
    check_afterwards(passes, held, clean, model)


@pytest.mark.parametrize(("block", "at"), [*((PROBED, step) for step in MOMENTS), (BLOCK, 0), (BLOCK, 4)])
def test_a_patch_of_another_node_breaks(passes, held, clean, block, at):
    patch = ForeignPatch(raising(FaultError, "broken patch"), at)
    model = passes.cached(patch.put_on(passes.model(), block))
    with pytest.raises(FaultError, match="broken patch"):
        passes.sample(model)
    assert patch.calls == at + 1
    check_afterwards(passes, held, clean, model)  # the very same model: its patch is quiet from now on


@pytest.mark.parametrize("step", MOMENTS)
def test_the_samplers_callback_breaks(passes, held, clean, step):
    def callback(i, *_):
        if i == step:
            raise FaultError("broken callback")

    def sample(model, callback=None):
        module = passes.comfy.module("comfy.sample")
        noise = module.prepare_noise(passes.latent(), 0)
        return module.sample(
            model, noise, STEPS, 1.0, "euler", "simple", passes.text(), passes.text(""), passes.latent(),
            callback=callback, disable_pbar=True, seed=0,
        )  # fmt: skip

    model = passes.cached()
    with pytest.raises(FaultError, match="broken callback"):
        sample(model, callback)
    check_afterwards(passes, held, clean, model)


@pytest.mark.parametrize("at", [0, 3])
def test_the_model_runs_out_of_memory_for_good(passes, held, clean, at):
    error = passes.comfy.module("comfy.model_management").OOM_EXCEPTION
    patch = ForeignPatch(raising(error, "too large"), at, once=False)
    model = passes.cached(patch.put_on(passes.model()))
    with pytest.raises(error, match="too large"):
        passes.sample(model)
    assert patch.calls == at + 2, "tried once more without the cache, and not again"
    patch.act = nothing
    check_afterwards(passes, held, clean, model)


@pytest.mark.parametrize("at", [0, 3])
def test_the_model_runs_out_of_memory_because_of_the_cache(passes, held, clean, at):
    """The node may be the reason; without its memory the same pass succeeds."""
    error = passes.comfy.module("comfy.model_management").OOM_EXCEPTION
    patch = ForeignPatch(raising(error, "too large"), at)
    model = passes.cached(patch.put_on(passes.model()), warmup_steps=4)
    assert torch.equal(passes.sample(model), clean["plain"])
    assert passes.run.reused == 0
    assert {d.reason for d in passes.run.passes[-1].decisions} == {"out of memory"}
    assert held.alive == 0
    passes.sample(model)
    assert passes.run.reused > 0, "the next run has a cache again"


@pytest.mark.parametrize("at", range(6))
def test_the_cache_runs_out_of_memory(passes, pack, held, clean, at, monkeypatch):
    """Whichever of its allocations fails: the run goes on, computed from there on."""
    error, keep, count = (
        passes.comfy.module("comfy.model_management").OOM_EXCEPTION,
        pack.dicache_core.engine.storage.Storage.keep,
        [],
    )

    def fail(self, value):
        count.append(1)
        if len(count) == at + 1:
            raise error("no memory")
        return keep(self, value)

    monkeypatch.setattr(pack.dicache_core.engine.storage.Storage, "keep", fail)
    model = passes.cached()
    out = passes.sample(model)
    reasons = [p.decisions[0].reason for p in passes.run.passes]
    given_up = reasons.index("out of memory")
    assert set(reasons[given_up:]) == {"out of memory"}
    if "reused" not in reasons:
        assert torch.equal(out, clean["plain"])
    assert out.isfinite().all()
    assert len(count) == at + 1, "asked for memory after it had given up"
    check_afterwards(passes, held, clean, model)


@pytest.mark.parametrize("where", ["model", "cache"])
def test_ranks_that_decide_together_do_not_give_up_alone(passes, pack, held, where, monkeypatch):
    """The others would wait for this one in the next reduction, for ever."""
    error = passes.comfy.module("comfy.model_management").OOM_EXCEPTION
    model, act = passes.model(), raising(error, "no memory")
    if where == "model":
        model = ForeignPatch(act, 2).put_on(model)
    else:
        monkeypatch.setattr(pack.dicache_core.engine.storage.Storage, "keep", lambda self, value: act(value))
    config = pack.dicache_core.CacheConfig(threshold=0.2, warmup_steps=2)
    model = pack.model_patchers.attach(model, config, runs=passes.runs, reduce=lambda sums: sums)
    with pytest.raises((error, pack.dicache_core.engine.storage.CacheOutOfMemoryError), match="no memory"):
        passes.sample(model)
    assert held.alive == 0


def test_a_reducer_that_adds_nothing_changes_nothing(passes, pack, clean):
    config, calls = pack.dicache_core.CacheConfig(threshold=0.2, warmup_steps=2), []
    reduce = lambda sums: calls.append(sums.shape) or sums  # noqa: E731
    model = pack.model_patchers.attach(passes.model(), config, runs=passes.runs, reduce=reduce)
    assert torch.equal(passes.sample(model), clean["cached"])
    open_steps = sum(d.error is not None for p in passes.run.passes for d in p.decisions)
    assert len(calls) == open_steps > 0


def poison(value, row=slice(None)):
    def act(out):
        out["img"] = out["img"].clone()
        out["img"][row, -1:] = value

    return act


@pytest.mark.parametrize("block", [PROBED, BLOCK, ("single_block", 7)])
@pytest.mark.parametrize(("at", "value"), [(0, math.nan), (3, math.nan), (3, math.inf)])
def test_values_that_are_not_finite(passes, held, clean, block, at, value):
    """Whatever the picture is then worth: nothing crashes, and no later step reuses what cannot be compared."""
    patch, poisoned = ForeignPatch(poison(value), at), []
    spoil = patch.act
    patch.act = lambda out: poisoned.append(len(passes.run.passes)) or spoil(out)
    out = passes.sample(passes.cached(patch.put_on(passes.model(), block)))
    assert patch.calls > at
    assert not out.isfinite().all()
    plain = passes.sample(ForeignPatch(poison(value), at).put_on(passes.model(), block))
    assert torch.equal(out.isfinite(), plain.isfinite()), "another part of the picture than without the node"
    assert not any(p.reused for p in passes.run.passes[poisoned[0] :])
    check_afterwards(passes, held, clean)


def test_one_sample_that_is_not_finite_leaves_the_others_alone(passes):
    latent = passes.latent(batch=2)
    healthy = passes.sample(passes.cached(), latent=latent)
    samples = passes.decisions()
    out = passes.sample(passes.cached(ForeignPatch(poison(math.nan, row=0), 2).put_on(passes.model())), latent=latent)
    assert out[0].isnan().all()
    assert passes.decisions()[1] == samples[1]
    assert torch.allclose(out[1], healthy[1], atol=1e-5)
