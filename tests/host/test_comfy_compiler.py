"""Beside a Comfy Compiler (see ``compiler_stand_in``): the cache makes nothing in a graph, and no pass breaks one."""

import logging
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import compiled_toys
import compiler_child
import compiler_stand_in as faults
import pytest
import torch
from compiled_toys import TOYS, CompiledModel
from every_policy import POLICIES, STEPS, loosened
from layout import base_directory

pytestmark = pytest.mark.one_host
FORECASTS = ("fidelity", "balanced", "fast")


@pytest.fixture
def args(comfy):
    return comfy.module("comfy.cli_args").args


@pytest.fixture
def compiler(pack, args, monkeypatch):
    """The host with a compiler that is on, and the fault of a test that leaves one behind."""
    stand_in = faults.install(monkeypatch, args)
    yield stand_in
    stand_in.check()
    assert args.disable_comfy_compiler is False, "the compiler is off for good"


@pytest.fixture
def attached(pack):
    """``attached(compiled, config)``: its model with a cache, and the statistics of its runs."""

    def attach(compiled, config):
        runs = []
        return pack.model_patchers.attach(compiled.model, config, runs=runs), runs

    return attach


def published(core, compiled, **settings):
    family = "minimax_h3" if "H3" in type(compiled.network).__qualname__ else "qwen_image_2_1"
    return replace(core.resolve(family, "published"), **(dict(target="6") | settings))


def prompts(stand_in, compiled, model, seeds=(0, 1), **more):
    """The latents of one prompt after the other."""
    outs = []
    for seed in seeds:
        with stand_in.node():
            outs.append(compiled.sample(model, STEPS, seed, **more))
    return outs


# ---------------------------------------------------------------- the stand-in itself


class Spoilt:
    """A replacement of the fourth block that does what no cache may do in a graph."""

    def __init__(self, how):
        self.how, self.kept, self.calls = how, [], 0

    def __call__(self, args, extra):
        self.calls += 1
        if self.how == "keeps":
            self.kept.append(args["img"].clone())
        if self.how == "skips" and self.calls > 2:
            return args
        return extra["original_block"](args)


@pytest.mark.parametrize(("how", "fault"), [("keeps", faults.KEPT), ("skips", faults.OTHER)])
def test_it_notices_what_a_cache_may_do_wrong(comfy, args, monkeypatch, how, fault):
    stand_in = faults.install(monkeypatch, args)
    compiled = CompiledModel("h3")
    model, spoilt = compiled.model.clone(), Spoilt(how)
    model.set_model_patch_replace(spoilt, "dit", "double_block", 3)
    prompts(stand_in, compiled, model, [0])
    assert spoilt.calls == STEPS
    with pytest.raises(AssertionError, match=fault):
        stand_in.check()


def test_it_notices_a_graph_that_is_not_ended(comfy, args, monkeypatch):
    stand_in = faults.install(monkeypatch, args)
    with stand_in.node():
        stand_in.malloc_graph_begin(torch.device("cpu"))
    with pytest.raises(AssertionError, match=faults.OPEN):
        stand_in.check()


def test_it_notices_a_hook_on_a_replayed_block(comfy, args, monkeypatch):
    stand_in = faults.install(monkeypatch, args)
    compiled, calls = CompiledModel("h3, blocks replayed"), []
    block = compiled.network.blocks[2]
    own = block.forward
    block.forward = lambda *args, **kwargs: calls.append(1) or own(*args, **kwargs)
    prompts(stand_in, compiled, compiled.model, [0])
    assert len(calls) == 2, "it was replayed from the third call on"
    with pytest.raises(AssertionError, match=faults.WAITED):
        stand_in.check()


def test_it_notices_weights_and_blocks_out_of_step(comfy, args, monkeypatch):
    stand_in = faults.install(monkeypatch, args)
    compiled = CompiledModel("h3")
    blocks = compiled.network.blocks
    with stand_in.node():
        queue = stand_in.make_prefetch_queue(list(blocks), torch.device("cpu"), {})
        for block in (blocks[0], blocks[2]):
            stand_in.prefetch_queue_pop(queue, torch.device("cpu"), block)
    with pytest.raises(AssertionError, match=faults.QUEUE):
        stand_in.check()


@pytest.mark.parametrize("kind", TOYS)
def test_the_toys_are_sound_without_a_cache(compiler, kind):
    compiled = CompiledModel(kind)
    first, _, again = prompts(compiler, compiled, compiled.model, (0, 1, 0))
    assert torch.equal(first, again)
    assert first.isfinite().all()
    assert compiler.begun == 3 * STEPS
    assert bool(compiler.replayed) == ("replayed" in kind)


# ---------------------------------------------------------------- every preset and policy


@pytest.mark.parametrize("kind", TOYS)
@pytest.mark.parametrize("preset", FORECASTS)
def test_a_forecast_preset_stays_outside(compiler, pack, attached, kind, preset):
    """A computed call is the host's own, a skipped one opens no graph."""
    compiled = CompiledModel(kind)
    config = replace(pack.dicache_core.resolve("", preset), target="6")
    model, runs = attached(compiled, config)
    prompts(compiler, compiled, model)
    assert compiler.begun == sum(run.calls_computed for run in runs) == 12
    assert [run.compiler for run in runs] == [None, None]


@pytest.mark.parametrize("kind", TOYS)
def test_published_runs_with_the_compiler_off(compiler, comfy, pack, args, attached, caplog, kind):
    compiled = CompiledModel(kind)
    seen = []
    with caplog.at_level(logging.INFO):
        model, runs = attached(compiled, published(pack.dicache_core, compiled))
        outs = prompts(compiler, compiled, model, callback=lambda *_: seen.append(args.disable_comfy_compiler))
    assert set(seen) == {True}
    assert compiler.begun == 0
    assert [run.reused for run in runs] == [6, 6]
    assert [run.compiler for run in runs] == ["off", "off"]
    assert caplog.text.count("the Comfy Compiler was off in this run") == 2
    reports = list(map(comfy.module(f"{pack.__name__}.dicache_nodes.rendering.text").describe, runs))
    assert "".join(reports).count("the Comfy Compiler was off in this run") == 2
    args.disable_comfy_compiler = True  # as with --disable-comfy-compiler
    without = prompts(compiler, compiled, model)
    assert [run.compiler for run in runs[2:]] == [None, None]
    assert args.disable_comfy_compiler is True, "the user's own choice is gone"
    args.disable_comfy_compiler = False
    assert all(map(torch.equal, outs, without))


@pytest.fixture(scope="module")
def curve(comfy):
    """Of the toy, by its own calibrating run, and without a compiler."""
    core, runs = comfy.pack.dicache_core, []
    with pytest.MonkeyPatch.context() as patch:
        stand_in = faults.install(patch, comfy.module("comfy.cli_args").args)
        compiled = CompiledModel("h3")
        model = comfy.pack.model_patchers.attach(compiled.model, core.calibration.recording_config(), runs=runs)
        prompts(stand_in, compiled, model, [0])
        stand_in.check()
        assert stand_in.begun == 0
    return core.calibration.calibration_of(runs[0])


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy(compiler, pack, attached, curve, name):
    core, compiled = pack.dicache_core, CompiledModel("h3")
    config = loosened(core, name, curve, "minimax_h3")
    if name in ("teacache", "seacache"):
        with pytest.raises(ValueError, match="looks at the modulated input"):
            attached(compiled, config)
        return
    if name == "h2cache":
        with pytest.raises(ValueError, match="this model has one kind of blocks"):
            attached(compiled, config)
        return
    model, runs = attached(compiled, config)
    prompts(compiler, compiled, model)
    inside = core.needs_stack(config)
    assert [run.compiler for run in runs] == ["off" if inside else None] * 2
    assert compiler.begun == (0 if inside else sum(run.calls_computed for run in runs))
    assert all(len(run.passes) == STEPS for run in runs)


def test_the_forecast_method_takes_over_where_there_is_no_switch(pack, args, attached, monkeypatch, caplog):
    stand_in = faults.install(monkeypatch, args, switch=False)
    core, compiled = pack.dicache_core, CompiledModel("h3")
    with caplog.at_level(logging.INFO):
        model, runs = attached(compiled, published(core, compiled, warmup_steps=4))
        prompts(stand_in, compiled, model)
    stand_in.check()
    assert [run.compiler for run in runs] == ["forecast", "forecast"]
    assert {core.method_of(run.config) for run in runs} == {"forecast"}
    assert {run.config.warmup_steps for run in runs} == {4}
    assert stand_in.begun == sum(run.calls_computed for run in runs) < 2 * STEPS
    assert "the forecast method was used, because" in caplog.text
    assert not hasattr(args, "disable_comfy_compiler")


def test_calibrating_is_refused_where_there_is_no_switch(comfy, pack, args, monkeypatch, tmp_path):
    stand_in = faults.install(monkeypatch, args, switch=False)
    monkeypatch.setattr(comfy.module("folder_paths"), "get_user_directory", lambda: str(tmp_path))
    compiled = CompiledModel("h3")
    calibrate = comfy.module(f"{pack.__name__}.model_patchers.calibration_files").calibrate
    sampling = SimpleNamespace(run=lambda model: compiled.sample(model, STEPS))
    with stand_in.node(), pytest.raises(ValueError, match="start ComfyUI without it"):
        calibrate(compiled.model, sampling, "h3")
    stand_in.check()
    assert not list(tmp_path.rglob("*.json"))


def test_a_compiler_that_is_off_changes_nothing(pack, args, attached, monkeypatch):
    """No CUDA, or no dynamic VRAM: the host says so itself."""
    stand_in = faults.install(monkeypatch, args, switch=False)
    monkeypatch.setattr(compiled_toys.compiler(), "malloc_graph_enabled", lambda device: False)
    monkeypatch.setattr(stand_in, "malloc_graph_enabled", lambda device: False)
    compiled = CompiledModel("h3")
    model, runs = attached(compiled, published(pack.dicache_core, compiled))
    prompts(stand_in, compiled, model, [0])
    assert runs[0].compiler is None
    assert pack.dicache_core.method_of(runs[0].config) == "dicache"
    stand_in.check()


# ---------------------------------------------------------------- runs that end otherwise


class StopError(Exception):
    """As the stop button raises."""


def failing(block, error, at):
    """``block`` raises at its ``at``-th call, once, with tensors of its own in hand."""
    own, calls = block.forward, []

    def forward(*args, **kwargs):
        calls.append(1)
        out = own(*args, **kwargs)
        if len(calls) == at + 1:
            raise error("injected")
        return out

    vars(block)["forward"] = forward


@pytest.mark.parametrize("preset", ["published", "balanced"])
@pytest.mark.parametrize("error", [StopError, RuntimeError])
@pytest.mark.parametrize("at", [0, 3])
def test_a_run_that_fails(compiler, pack, args, attached, preset, error, at):
    compiled = CompiledModel("h3")
    core = pack.dicache_core
    config = published(core, compiled) if preset == "published" else core.resolve("minimax_h3", preset)
    model, runs = attached(compiled, config)
    failing(compiled.network.blocks[0], error, at)
    with pytest.raises(error, match="injected"):
        prompts(compiler, compiled, model, [0])
    assert args.disable_comfy_compiler is False
    assert runs[0].finished
    del compiled.network.blocks[0].forward
    outs = prompts(compiler, compiled, model)
    assert all(out.isfinite().all() for out in outs)


@pytest.mark.parametrize("preset", ["published", "balanced"])
@pytest.mark.parametrize("kind", ["h3", "qwen 2.1"])
@pytest.mark.parametrize("at", [0, 3])
def test_the_model_runs_out_of_memory(compiler, comfy, pack, attached, preset, kind, at):
    """The pass is tried once more: its graph and its queue of weights are closed by then."""
    error = comfy.module("comfy.model_management").OOM_EXCEPTION
    compiled, core = CompiledModel(kind), pack.dicache_core
    config = published(core, compiled) if preset == "published" else core.resolve("minimax_h3", preset)
    model, runs = attached(compiled, config)
    failing(compiled.network.stack[3], error, at)
    (out,) = prompts(compiler, compiled, model, [0])
    assert out.isfinite().all()
    assert len(runs[0].passes) == STEPS
    assert {d.reason for d in runs[0].passes[-1].decisions} == {"out of memory"}
    del compiled.network.stack[3].forward
    prompts(compiler, compiled, model)
    assert runs[-1].reused > 0


def test_the_cache_runs_out_of_memory(compiler, comfy, pack, attached, monkeypatch):
    error = comfy.module("comfy.model_management").OOM_EXCEPTION
    keep, count = pack.dicache_core.engine.storage.Storage.keep, []

    def fail(self, value):
        count.append(1)
        if len(count) == 3:
            raise error("no memory")
        return keep(self, value)

    monkeypatch.setattr(pack.dicache_core.engine.storage.Storage, "keep", fail)
    compiled = CompiledModel("h3")
    model, runs = attached(compiled, published(pack.dicache_core, compiled))
    prompts(compiler, compiled, model)
    assert {d.reason for d in runs[0].passes[-1].decisions} == {"out of memory"}
    assert runs[1].reused > 0


def test_two_runs_at_once(compiler, pack, args, attached):
    """The first one ends while the second one goes on, and a third one has no cache."""
    core, seen, ended = pack.dicache_core, [], threading.Event()
    compiled = {name: CompiledModel("h3") for name in ("short", "long", "plain")}
    both = threading.Barrier(2, timeout=60)
    runs = {}

    def started(step, *_):
        if step == 0:
            both.wait()

    def goes_on(step, *rest):
        started(step, *rest)
        if step == 2:
            assert ended.wait(60)
            seen.append(args.disable_comfy_compiler)

    def run(name, callback):
        model, runs[name] = attached(compiled[name], published(core, compiled[name]))
        with compiler.node():
            compiled[name].sample(model, STEPS, callback=callback)

    def short():
        run("short", started)
        ended.set()

    threads = [threading.Thread(target=short), threading.Thread(target=run, args=("long", goes_on))]
    for thread in threads:
        thread.start()
    prompts(compiler, compiled["plain"], compiled["plain"].model)
    for thread in threads:
        thread.join(60)
    assert seen == [True], "the first run took the second one's compiler switch"
    assert [runs[name][0].compiler for name in ("short", "long")] == ["off", "off"]
    assert all(runs[name][0].reused == 6 for name in runs)


def test_a_run_inside_of_another_one(compiler, pack, args, attached):
    core, outer, inner = pack.dicache_core, CompiledModel("h3"), CompiledModel("h3")
    model, runs = attached(outer, published(core, outer))
    within, inner_runs = attached(inner, published(core, inner))

    def callback(step, *_):
        if step == 1:
            inner.sample(within, STEPS)
            assert args.disable_comfy_compiler is True

    prompts(compiler, outer, model, [0], callback=callback)
    assert [run.compiler for run in [*runs, *inner_runs]] == ["off", "off"]


# ---------------------------------------------------------------- a real one


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["published", *FORECASTS])
def test_the_real_compiler(host, tmp_path, preset):
    """MiniMax H3's toy on a GPU, in a ComfyUI that has the compiler: two prompts in a row, one that stops, one more."""
    command = [host.python, str(Path(compiler_child.__file__)), host.comfy, str(base_directory(tmp_path)), preset]
    environment = os.environ | {"DICACHE_TEST_DEVICE": "cuda"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=False)
    if done.returncode == compiler_child.SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stopped" in done.stdout
