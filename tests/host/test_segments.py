"""Parts of the stack in a real ComfyUI, on trained models: batches, guidance, windows, memory, compiled blocks."""

import logging
import random
import sys
from dataclasses import replace

import pytest
import torch
from compiling import BLOCKS as BLOCK_BY_BLOCK
from compiling import compiled
from passes import ARCHITECTURES, Passes, assert_close, streams
from patchers.cached import counted
from testbed.captions import CAPTIONS

LISTS = {"wan": "blocks 1-8 11", "flux": "double 1-2, single 0-4 6"}
MILD = 1.5  # of guidance: the host's own results for joined and split batches differ in the last digits
STEPS = 14


@pytest.fixture(params=ARCHITECTURES)
def passes(request, comfy):
    return Passes(comfy, request.param)


def in_parts(passes, model=None, **settings):
    """The testbed's model under a list of blocks."""
    core = passes.core
    policy = core.policies.chosen_policy("profilingdit", mask=LISTS.get(passes.architecture, LISTS["flux"]))
    config = replace(core.resolve(passes.architecture, policy=policy), **settings)
    return passes.comfy.pack.model_patchers.attach(model or passes.model(), config, runs=passes.runs)


def by_mask(passes, model=None):
    """The testbed's model under a mask: two neighbours at every second step, another block late in the run alone."""
    core, blocks = passes.core, len(stack(passes))
    changes = [[0.01 if n in (1, 2) or (n == 6 and step > 4) else 0.5 for n in range(blocks)] for step in range(STEPS)]
    curve = core.Calibration(passes.architecture, (0.0,) * STEPS, blocks=tuple(map(tuple, changes)))
    policy = core.policies.chosen_policy("block_mask", calibration=curve, threshold=0.05)
    config = core.resolve(passes.architecture, policy=policy)
    return passes.comfy.pack.model_patchers.attach(model or passes.model(), config, runs=passes.runs)


PLANNED = pytest.mark.parametrize("rule", [in_parts, by_mask], ids=["profilingdit", "block_mask"])


def ways(split):
    """Positive and negative in one pass, in two, and now so and now so."""
    return (lambda: True), (lambda: False), (lambda: split.random() < 0.5)


def stack(passes):
    network = passes.model().model.diffusion_model
    return [block.module for block in passes.comfy.pack.model_patchers.family_of(network).blocks(network)]


def test_what_is_skipped_does_not_run_and_is_told(passes, caplog):
    blocks = stack(passes)
    passes.sample(
        in_parts(passes), steps=STEPS
    )  # the first run of a process is slow at what it does for the first time
    with counted(blocks) as calls, caplog.at_level(logging.INFO, logger="dicache"):
        passes.sample(in_parts(passes), steps=STEPS)
    _, run = passes.runs
    assert run.cells == "wcccccc" + "ppppp" + "cp"
    assert sum(calls) == pytest.approx(sum(run.shares) * len(blocks))
    assert set(calls) == {14, 8}
    assert f"blocks of {sum(run.shares):.1f} of 14 steps ran" in caplog.text
    describe = passes.comfy.pack.dicache_nodes.rendering.text.describe
    assert f"blocks of {sum(run.shares):.1f} of 14 ran" in describe(run)
    assert run.speedup > 1
    assert passes.core.explain.why_nothing(run) is None


def test_a_run_that_computes_all_changes_no_bit_and_holds_nothing(passes):
    plain = passes.sample(passes.model(), steps=8)
    assert torch.equal(passes.sample(in_parts(passes, threshold=0.0), steps=8), plain)
    assert torch.equal(passes.sample(in_parts(passes, warmup_steps=8), steps=8), plain)
    assert passes.run.held_bytes <= 32 * 1024  # of the model's input
    kept = passes.sample(in_parts(passes, start_percent=0.95, max_consecutive=1), steps=8)  # nothing is open
    assert torch.equal(kept, plain)


def test_kept_calls_are_computed_to_the_last_bit(passes):
    """Of eight steps the last alone is skipped: what the sampler gets before it is what it gets without a cache."""
    seen = [[], []]
    for found, model in zip(seen, (passes.model(), in_parts(passes)), strict=True):
        out = passes.comfy.module("comfy.sample")
        noise = out.prepare_noise(passes.latent(), 0)
        with torch.inference_mode():
            out.sample(
                model, noise, 8, 1.0, "euler", "simple", passes.text(), passes.text(""), passes.latent(), seed=0,
                disable_pbar=True, callback=lambda _i, _x0, x, *_, found=found: found.append(x.clone()),
            )  # fmt: skip
    assert passes.run.cells == "wccccccp"
    assert all(map(torch.equal, *[found[:8] for found in seen]))


@PLANNED
def test_joined_split_and_changing_batches_decide_and_give_the_same(passes, batching, rule):
    latents, found, split = [], [], random.Random(0)
    for fits in ways(split):
        batching(fits)
        latents.append(passes.sample(rule(passes), cfg=MILD, steps=STEPS))
        found.append(sorted([d.share for _, d in sample] for sample in passes.run.by_sample().values()))
    assert [{len(passed.keys) for passed in run.passes} for run in passes.runs] == [{2}, {1}, {1, 2}]
    assert found[0] == found[1] == found[2]
    assert found[0][0] == found[0][1]
    assert min(found[0][0]) < max(found[0][0]) == 1
    assert len(streams(passes.run)) == 2
    assert_close(latents[1], latents[0], 1e-4)
    assert_close(latents[2], latents[0], 1e-4)


@PLANNED
@pytest.mark.parametrize("batch", [2, 3, 4])
def test_samples_of_a_batch_are_each_what_they_are_alone(passes, batch, rule):
    together = passes.sample(rule(passes), latent=passes.latent(batch=batch), steps=10)
    plain = passes.sample(passes.model(), latent=passes.latent(batch=batch), steps=10)
    assert not torch.equal(together, plain)
    assert {len(passed.decisions) for passed in passes.run.passes} == {batch}
    shares = {d.share for d in passes.run.passes[-1].decisions}
    assert len(shares) == 1
    assert passes.run.shares[-1] == pytest.approx(*shares)
    assert passes.run.shares[-1] < 1
    alone = passes.sample(rule(passes), latent=passes.latent(), steps=10)
    assert_close(together[:1], alone, 1e-3)


@pytest.mark.parametrize("begin", range(1, 6))
def test_a_run_that_begins_anywhere_in_the_schedule_comes_to_its_end(passes, begin):
    """At some of its first steps the rule skips a block of which nothing is kept yet, and computes another by plan."""
    found = passes.sample(by_mask(passes), steps=STEPS, start_step=begin)
    assert torch.isfinite(found).all()
    first, *_ = passes.run.passes
    assert not first.reused
    assert min(passes.run.shares) < 1


def test_a_list_of_blocks_in_few_steps_says_that_these_are_too_few(passes):
    passes.sample(in_parts(passes), steps=6)
    explain = passes.core.explain
    assert explain.why_nothing(passes.run).reason == "few open"
    assert "or use more steps" in explain.nothing_text(passes.run)


def test_context_windows_have_each_a_history_of_their_own(comfy):
    passes = Passes(comfy, "wan")
    settings = dict(context_length=4, context_overlap=2, context_schedule="standard_static", context_stride=1)
    settings |= dict(closed_loop=False, fuse_method="pyramid", dim=2, freenoise=False)
    model = passes.extra("nodes_context_windows.ContextWindowsManualNode", model=passes.model(), **settings)
    out = passes.sample(in_parts(passes, model), latent=passes.latent(frames=6), steps=10)
    assert out.isfinite().all()
    assert [[reused for _, reused in sample] for sample in passes.decisions()] == [[False] * 7 + [True] * 3] * 2


@pytest.mark.parametrize("where", ["enter", "complete"])
def test_running_out_of_memory_costs_the_cache_and_not_the_run(passes, monkeypatch, caplog, where):
    plain = passes.sample(passes.model())
    core, out_of_memory = passes.core, passes.comfy.module("comfy.model_management").OOM_EXCEPTION
    target, name = (core.ForwardPass, "_tokens_seen") if where == "enter" else (core.engine.storage.Storage, "keep")

    def fail(*_args):
        raise out_of_memory("injected")

    monkeypatch.setattr(target, name, fail)
    network = passes.model().model.diffusion_model
    before = {name: sorted(vars(module)) for name, module in network.named_modules()}
    with caplog.at_level(logging.WARNING, logger="dicache"):
        out = passes.sample(in_parts(passes))
    assert torch.equal(out, plain)
    assert "no memory left for the cache (injected)" in caplog.text
    assert [p.decisions[0].reason for p in passes.run.passes][-1] == "out of memory"
    assert {name: sorted(vars(module)) for name, module in network.named_modules()} == before


def test_in_main_memory_and_in_8_bits(passes):
    kept, moved = (passes.sample(in_parts(passes, cache_device=place)) for place in ("gpu", "cpu"))
    assert torch.equal(kept, moved)
    packed = passes.sample(in_parts(passes, residual_bits=8))
    assert 0 < (packed - kept).norm() < 0.1 * kept.norm()
    assert passes.run.held_bytes < passes.runs[0].held_bytes


def test_one_segment_ahead_is_fetched_from_main_memory(comfy, monkeypatch):
    """While the blocks of one run, what the next is rebuilt from is on its way; and no further one is."""
    passes, events = Passes(comfy, "flux"), []
    storage = sys.modules[f"{comfy.pack.__name__}.dicache_core.engine.storage"].Storage
    bring, load = storage._brought, storage.load

    def note(name, original):
        return lambda self, stored: (events.append((name, id(stored))), original(self, stored))[1]

    monkeypatch.setattr(storage, "_brought", note("way back", bring))
    monkeypatch.setattr(storage, "load", note("rebuilt", load))
    passes.sample(in_parts(passes, cache_device="cpu"))
    calls = [events[i : i + 6] for i in range(0, len(events), 6)]  # three segments in each
    assert len(calls) == passes.run.cells.count("p") > 0
    for (begun, first), (more, second), (built, ended), (last, third), *rest in calls:
        assert [begun, more, built, last] == ["way back", "way back", "rebuilt", "way back"]
        assert rest == [("rebuilt", second), ("rebuilt", third)]
        assert ended == first
        assert len({first, second, third}) == 3


def test_compiled_blocks(comfy):
    passes = Passes(comfy, "flux")
    eager = passes.sample(in_parts(passes))
    out = passes.sample(in_parts(passes, compiled(comfy, passes.model(), BLOCK_BY_BLOCK)))
    assert_close(out, eager, 1e-3)
    assert passes.runs[0].cells == passes.runs[1].cells
    torch._dynamo.reset()


def test_memory_is_asked_for_every_part(comfy, monkeypatch):
    """What the host is told is what is held, and one more tensor of each sample."""
    passes = Passes(comfy, "wan")
    memory = passes.comfy.module(f"{passes.comfy.pack.__name__}.model_patchers.memory")
    wanted, original = [], memory.MemoryPlan.wanted

    def noted(self, *args):
        wanted.append(original(self, *args))
        return wanted[-1]

    monkeypatch.setattr(memory.MemoryPlan, "wanted", noted)
    passes.sample(in_parts(passes))
    tensor, sample_of_input = 48 * 128 * 4, 3072 * 4  # bytes; Wan's text is not in its hidden state
    assert passes.run.held_bytes == 2 * tensor + sample_of_input
    assert wanted == [2 * tensor + tensor + 2 * sample_of_input]


def test_a_model_without_a_list_is_refused_when_it_is_chosen(comfy):
    (policy,) = comfy.node("DiCachePolicy", policy="profilingdit")
    refused = {"flux": "none for Flux", "hunyuan_video": "this one has 4 double and 8 single blocks"}
    for architecture, words in refused.items():
        with pytest.raises(ValueError, match=words):
            comfy.node("DiCacheApply", model=comfy.load_model(architecture), policy=policy)
    (policy,) = comfy.node("DiCachePolicy", policy="profilingdit", mask="double 1-2, single 3")
    model, log = comfy.node("DiCacheApply", model=comfy.load_model("flux"), policy=policy)
    passes = Passes(comfy, "flux")
    passes.sample(model)
    assert log.runs[0].cells.count("p") == 3
    with pytest.raises(ValueError, match="the list says double, but this model has blocks"):
        comfy.node("DiCacheApply", model=comfy.load_model("wan"), policy=policy)


# ---------------------------------------------------------------- two stages, at the seam


@pytest.fixture(params=["flux", "hunyuan_video"])
def seamed(request, comfy):
    return Passes(comfy, request.param)


def in_stages(passes, threshold=0.3, **settings):
    return passes.cached(
        indicator="h2cache", predictor="reuse", threshold=threshold, **(dict(warmup_steps=0) | settings)
    )


def test_two_stages_that_compute_change_no_bit(seamed):
    plain = seamed.sample(seamed.model(), cfg=3.0, steps=6)
    assert torch.equal(seamed.sample(in_stages(seamed, 1e-30), cfg=3.0, steps=6), plain)
    assert seamed.run.shares == [1.0] * 6


def test_stages_are_skipped_and_what_is_skipped_does_not_run(seamed):
    blocks = stack(seamed)
    with counted(blocks) as calls:
        out = seamed.sample(in_stages(seamed), steps=20)
    run = seamed.run
    assert out.isfinite().all()
    assert 0 < run.cells.count("p") < 20
    assert {round(12 * share) for share in run.shares} <= {2, 5, 12}
    assert sum(calls) == pytest.approx(12 * sum(run.shares))
    assert calls[0] == calls[4] == 20, "the first block of each stage always runs"


def test_stages_of_joined_and_split_batches_decide_the_same(seamed, batching):
    latents, found, split = [], [], random.Random(0)
    for fits in ways(split):
        batching(fits)
        latents.append(seamed.sample(in_stages(seamed), cfg=MILD, steps=20))
        decisions = seamed.run.by_sample().values()
        found.append(sorted([round(12 * d.share) for _, d in sample] for sample in decisions))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == found[0][1], "positive and negative are skipped together"
    assert {2, 12} <= set(found[0][0])
    assert_close(latents[1], latents[0], 1e-3)
    assert_close(latents[2], latents[0], 1e-3)


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_stages_of_a_batch_are_each_what_they_are_alone(seamed, batch):
    together = seamed.sample(in_stages(seamed), latent=seamed.latent(batch=batch), steps=20)
    of_batch = [[d.share for _, d in sample] for sample in seamed.run.by_sample().values()]
    assert len(of_batch) == batch
    assert seamed.run.shares == pytest.approx([sum(of_step) / batch for of_step in zip(*of_batch, strict=True)])
    alone = seamed.sample(in_stages(seamed), latent=seamed.latent(), steps=20)
    assert of_batch[0] == [d.share for (_, d) in next(iter(seamed.run.by_sample().values()))]
    assert min(of_batch[0]) < 1
    assert_close(together[:1], alone, 1e-3)


def test_a_batch_of_different_samples_gives_what_each_gives_alone(comfy):
    """Where rows disagree in a stage, its blocks get the computed rows alone."""
    passes = Passes(comfy, "flux")
    texts = [passes.text(text) for text in CAPTIONS[:3]]
    together = passes.sample(
        in_stages(passes),
        [[torch.cat([t[0][0] for t in texts]), _pooled(texts)]],
        latent=passes.latent(batch=3),
        steps=20,
    )
    shares = [[d.share for _, d in sample] for sample in passes.run.by_sample().values()]
    assert len({tuple(row) for row in shares}) > 1, "all decided the same, and nothing was shown"
    assert torch.isfinite(together).all()
    first = passes.sample(in_stages(passes), texts[0], latent=passes.latent(), steps=20)
    assert [d.share for _, d in next(iter(passes.run.by_sample().values()))] == shares[0]
    assert_close(together[:1], first, 1e-3)


def _pooled(texts):
    extras = [text[0][1] for text in texts]
    return {**extras[0], "pooled_output": torch.cat([extra["pooled_output"] for extra in extras])}


# ---------------------------------------------------------------- a mask from a calibrating run


def test_a_mask_is_recorded_and_followed(passes):
    network = passes.model().model.diffusion_model
    patchers, runs = passes.comfy.pack.model_patchers, []
    recording = patchers.attach(passes.model(), passes.core.calibration.recording_config(), runs=runs)
    plain = passes.sample(passes.model(), steps=STEPS)
    before = {name: sorted(vars(module)) for name, module in network.named_modules()}
    assert torch.equal(passes.sample(recording, steps=STEPS), plain), "recording changes no bit"
    curve = passes.core.calibration.calibration_of(runs[0])
    assert [len(row) for row in curve.blocks] == [len(stack(passes))] * STEPS
    assert not any(curve.blocks[0])
    assert all(0 < change < 2 for row in curve.blocks[1:] for change in row)
    threshold = sorted(change for row in curve.blocks[1:] for change in row)[6 * len(stack(passes))]
    policy = passes.core.policies.chosen_policy("block_mask", calibration=curve, threshold=threshold)
    config = passes.core.resolve(passes.architecture, policy=policy)
    blocks = stack(passes)
    with counted(blocks) as calls:
        out = passes.sample(patchers.attach(passes.model(), config, runs=runs), steps=STEPS)
    run = runs[-1]
    assert out.isfinite().all()
    assert not torch.equal(out, plain)
    assert set(run.cells[::2]) <= {"w", "c"}
    assert "p" in run.cells[1::2]
    of_block = list(zip(*curve.blocks, strict=True))
    assert calls == [STEPS - sum(0 < change < threshold for change in changes[1::2]) for changes in of_block]
    assert {name: sorted(vars(module)) for name, module in network.named_modules()} == before


def test_blocks_of_models_that_are_never_skipped_in_parts_are_not_recorded(comfy):
    passes = Passes(comfy, "flux")
    network = passes.model().model.diffusion_model
    registry = comfy.module(f"{comfy.pack.__name__}.model_patchers.registry")
    config, family = passes.core.calibration.recording_config(), registry.family_of(network)
    assert registry.shape_for(config, family, network).parts == (4, 8)
    assert registry.shape_for(config, replace(family, opening=1), network) is None
    assert registry.shape_for(config, replace(family, entangled=family.models), network) is None
    assert registry.shape_for(passes.core.resolve("flux"), family, network) is None
