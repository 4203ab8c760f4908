"""Every family with a stack of blocks, with a cache around its stack, compared with itself; the host's classes."""

import functools
import json
import sys
import threading
from pathlib import Path

import pytest
import shown
import torch
import torch._dynamo.utils
import toys
import variants
from cached import ALWAYS, NEVER, Cached, counted, options_of
from test_unet import sd_1
from toys import copied
from variants import noise

STEPS = 3


@functools.cache
def built(make):
    """Building takes longer than running; weights are never changed."""
    return make()


@pytest.fixture(params=toys.TOYS, ids=lambda make: make.__name__)
def toy(request, pack, shows):
    """A toy of one family; ``pack`` comes first, as it starts ComfyUI."""
    toy = built(request.param)
    shows("toy", toy.model)
    toy.clear()
    return toy


@pytest.fixture
def cached(pack, toy):
    def make(threshold, **settings):
        return Cached(pack, toy, threshold, settings)

    return make


@pytest.fixture(autouse=True)
def inference():
    with torch.inference_mode():
        yield


def stack_of(wrapped):
    return [block.module for block in wrapped.family.blocks(wrapped.variant.model)]


def tensors(out):
    return [out] if isinstance(out, torch.Tensor) else list(out)


def scaled(x, factor):
    return [part * factor for part in x] if isinstance(x, list) else x * factor


def assert_same(ours, theirs):
    assert all(torch.equal(a, b) for a, b in zip(tensors(ours), tensors(theirs), strict=True))


def assert_near(ours, theirs, tolerance=2e-5):
    for a, b in zip(tensors(ours), tensors(theirs), strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1.0)


def bare(toy, x, step=0, rows=None, **options):
    return toy(x, options_of(step, options), rows)


def hold(toy):
    """Whatever an instance of a module could have been given and kept."""
    return {
        name: sorted(k for k in vars(m) if not k.startswith("_") or k == "_forward") for name, m in toy.named_modules()
    }


# ---------------------------------------------------------------- what holds for every family


def test_composition_that_computes_changes_nothing(toy, cached):
    expected = [[t.clone() for t in tensors(bare(toy, scaled(toy.x, 1 - i / 10), i))] for i in range(STEPS)]
    toy.clear()
    wrapped, before = cached(NEVER), hold(toy.model)
    for i in range(STEPS):
        assert_same(wrapped(scaled(toy.x, 1 - i / 10), i), expected[i])
    assert set(wrapped.decisions) == {"no anchor yet", "error"}
    assert all(t.isfinite().all() for t in expected[0])
    assert hold(toy.model) == before


def test_same_input_reused_gives_the_same_output(toy, cached):
    wrapped = cached(ALWAYS)
    computed = [t.clone() for t in tensors(wrapped(toy.x, 0))]
    blocks = stack_of(wrapped)
    with counted(blocks) as calls, counted(toy.beside) as beside:
        reused = wrapped(toy.x, 1)
    assert set(wrapped.decisions[toy.batch :]) == {"reused"}
    assert_near(reused, computed)
    assert calls == [1] + [0] * (len(blocks) - 1), "blocks behind the probe ran"
    assert beside == [0] * len(toy.beside)


def test_a_rule_that_needs_no_probe_runs_no_block(toy, cached):
    wrapped = cached(2.0, indicator="fixed")
    computed = [t.clone() for t in tensors(wrapped(toy.x, 0))]
    blocks = stack_of(wrapped)
    with counted(blocks) as calls, counted(toy.beside) as beside:
        reused = wrapped(toy.x, 1)
    assert set(wrapped.decisions[toy.batch :]) == {"reused"}
    assert_near(reused, computed)
    assert sum(calls) == calls[0] == wrapped.family.opening
    assert beside == [0] * len(toy.beside)


def test_nothing_is_left_when_a_pass_fails(toy, cached):
    wrapped, before = cached(ALWAYS), hold(toy.model)
    *_, last = stack_of(wrapped)
    own = last.forward

    def fail(*_args, **_kwargs):
        raise RuntimeError("out of memory, say")

    last.forward = fail
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            wrapped(toy.x, 0)
        assert last.forward is fail, "what another pack put there is gone"
    finally:
        del last.forward
    assert last.forward == own
    assert hold(toy.model) == before
    assert wrapped.decisions == []


def test_a_reused_pass_that_fails_leaves_nothing(toy, cached):
    wrapped, before = cached(ALWAYS), hold(toy.model)
    wrapped(toy.x, 0)
    seen = []

    def fail(*_):
        seen.append(1)
        raise RuntimeError("interrupted, say")

    handle = stack_of(wrapped)[-1].register_forward_hook(fail)  # hooks see blocks that are skipped too
    try:
        with pytest.raises(RuntimeError, match="interrupted"):
            wrapped(toy.x, 1)
    finally:
        handle.remove()
    assert seen
    assert hold(toy.model) == before


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_forward_of_another_packs_still_acts(toy, cached, place):
    wrapped = cached(NEVER)
    block = wrapped.family.blocks(toy.model)[place]
    own, calls = block.module.forward, []

    def theirs(*args, **kwargs):
        calls.append(1)
        return own(*args, **kwargs)

    def louder(_module, _args, out):
        return changed(block, out)

    block.module.forward = theirs
    handle = block.module.register_forward_hook(louder)
    try:
        expected = [t.clone() for t in tensors(bare(toy, toy.x))]
        toy.clear()
        composed = wrapped(toy.x, 0)
        toy.clear()
        reused, ran = cached(ALWAYS), len(calls)
        computed = [t.clone() for t in tensors(reused(toy.x, 0))]
        assert_near(reused(toy.x, 1), computed)
    finally:
        handle.remove()
        del block.module.forward
    toy.clear()
    assert_same(composed, expected)
    assert not torch.equal(tensors(bare(toy, toy.x))[0], expected[0]), "the other pack did nothing"
    assert len(calls) - ran == (2 if place == 0 else 1), "a skipped pass runs what is in the probe only"


def changed(block, result, factor=1.1):
    """A block's result with a louder hidden state."""
    part = block.part
    if not part.returns:
        return tuple(scaled(list(result), factor)) if isinstance(result, tuple) else result * factor
    place = part.returns.index(part.hidden)
    return (*result[:place], result[place] * factor, *result[place + 1 :])


def test_rows_that_disagree(toy, cached):
    """One sample stands still and the other one jumps: all are computed, and the reused ones overwritten."""
    if toy.batch == 1 or toy.same_rows:
        pytest.skip("the host runs this family alone, or with the same input in every row")
    wrapped = cached(1e-6)
    first = [t.clone() for t in tensors(wrapped(toy.x, 0))]
    x = copied(toy.x)
    for part in tensors(x):
        part[1] = 2 * part[1] + 1
    mixed = wrapped(x, 1)
    assert wrapped.decisions[2:] == ["reused", "error"]
    assert_near([t[:1] for t in tensors(mixed)], [t[:1] for t in first])
    assert_near([t[1:] for t in tensors(mixed)], [t[1:] for t in tensors(bare(toy, x))])


@pytest.mark.parametrize("together_first", [True, False])
def test_cond_and_uncond_in_one_batch_or_apart(pack, toy, together_first):
    if toy.batch == 1:
        pytest.skip("the host runs this family alone")
    if not runs_one_row(toy):
        pytest.skip("this ComfyUI takes cond and uncond of this family in one batch only")
    rows, both = [[0], [1]], ["cond", "uncond"]

    def run(call, together):
        if together:
            return [t.clone() for t in tensors(call(toy.x, both, [0, 1]))]
        parts = [[t.clone() for t in tensors(call(take_rows(toy.x, row), [both[row[0]]], row))] for row in rows]
        return [torch.cat(pair) for pair in zip(*parts, strict=True)]

    expected = run(lambda x, _, rows: bare(toy, x, rows=rows), together_first)
    toy.clear()
    wrapped = Cached(pack, toy, ALWAYS)
    computed = run(lambda x, conds, rows: wrapped(x, 0, conds=conds, rows=rows), together_first)
    assert_same(computed, expected)
    for step, together in ((1, not together_first), (2, together_first)):
        assert_near(run(lambda x, conds, rows, step=step: wrapped(x, step, conds=conds, rows=rows), together), computed)
    assert wrapped.decisions == ["no anchor yet"] * 2 + ["reused"] * 4


def runs_one_row(toy):
    """Hunyuan3D 2.1 split its batch into conds in older versions, and failed on one row."""
    try:
        bare(toy, take_rows(toy.x, [0]), rows=[0])
    except ValueError as error:
        assert "not enough values to unpack" in str(error)  # noqa: PT017 - anything else is ours
        return False
    finally:
        toy.clear()
    return True


def take_rows(x, rows):
    return [take_rows(part, rows) for part in x] if isinstance(x, list) else x[rows]


def test_size_is_known_beforehand(toy, cached):
    """Tokens and width of what is kept, which the host's memory manager is asked for before the first call."""
    wrapped = cached(NEVER)
    wrapped(toy.x, 0)
    (history, *_) = wrapped.session._histories.values()
    kept = history.layouts["hidden"][0]
    if isinstance(toy.x, list):
        packed = (1, 1, sum(part[0].numel() for part in toy.x))
        tokens, width = wrapped.family.size(toy.model, packed)
        assert 0.4 < tokens * width / kept.numel() < 2.5, "a guess, as the host hands several latents over as one"
    else:
        assert wrapped.family.size(toy.model, toy.x.shape) == tuple(kept)


# ---------------------------------------------------------------- replacements by key


@pytest.mark.parametrize("make", toys.KEYED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_replacement_still_acts(pack, make, place):
    """One that changes a block's result, and one that never calls the block."""
    toy = built(make)
    wrapped = Cached(pack, toy, NEVER)
    block = wrapped.family.blocks(toy.model)[place]
    calls = []

    def louder(args, extra):
        calls.append(1)
        out = extra["original_block"](args)
        if not block.part.patched:
            return out * 1.1
        return {**out, block.part.patched: changed(block_alone, out[block.part.patched])}

    def nothing(args, extra):
        calls.append(1)
        return args if block.part.patched else args["x"]

    block_alone = type("Alone", (), {"part": type("Part", (), {"returns": ()})})
    for replacement in (louder,) if 0 <= place < wrapped.family.opening else (louder, nothing):
        options = {"patches_replace": {"dit": {block.key: replacement}}}
        expected = [t.clone() for t in tensors(bare(toy, toy.x, **options))]
        assert not torch.equal(tensors(bare(toy, toy.x))[0], expected[0]), "the replacement did nothing"
        assert_same(Cached(pack, toy, NEVER)(toy.x, 0, options), expected)
        reused = Cached(pack, toy, ALWAYS)
        reused(toy.x, 0, options)
        calls.clear()
        assert_near(reused(toy.x, 1, options), expected)
        assert reused.decisions[toy.batch :] == ["reused"] * toy.batch
        assert len(calls) == (1 if place == 0 else 0), "a skipped pass skips it too"


@pytest.mark.parametrize(
    "make", [toys.qwen_image, toys.mage_flow, toys.lens, toys.z_image], ids=lambda make: make.__name__
)
def test_patches_between_blocks_act_behind_the_last_one_only(pack, make):
    """As control models do, in place: a skipped pass must not pay for what the estimate overwrites."""
    toy, seen = built(make), []

    def control(args):
        seen.append(args["block_index"])
        args["img"] += 0.1 * noise(*args["img"].shape, seed=args["block_index"])
        return args

    options = {"patches": {"double_block": [control]}}
    expected = bare(toy, toy.x, **options).clone()
    assert not torch.equal(bare(toy, toy.x), expected), "the patch did nothing"
    assert torch.equal(Cached(pack, toy, NEVER)(toy.x, 0, options), expected)
    wrapped = Cached(pack, toy, ALWAYS)
    wrapped(toy.x, 0, options)
    seen.clear()
    assert_near(wrapped(toy.x, 1, options), expected)
    assert seen == [3]
    assert options == {"patches": {"double_block": [control]}}


# ---------------------------------------------------------------- single families


def test_keys_are_kept_from_a_pass_that_is_reused(pack):
    """HiDream O1 forgets its prompt's keys when more conds come than it keeps: blocks run, the estimate stands."""
    toy = built(toys.hidream_o1)
    toy.clear()
    wrapped = Cached(pack, toy, ALWAYS)
    computed = wrapped(toy.x, 0).clone()
    toy.clear()
    with counted(stack_of(wrapped)) as calls:
        reused = wrapped(scaled(toy.x, 1.0), 1)
    assert wrapped.decisions[2:] == ["reused"] * 2
    assert calls == [1] * 4
    assert_near(reused, computed)
    assert len(toy.model._kv_cache_entries) == 1
    assert_near(wrapped(toy.x, 2), computed)


@pytest.mark.parametrize(
    "make", [toys.lumina_2, toys.stable_diffusion_3, variants.flux, sd_1], ids=lambda make: make.__name__
)
def test_a_stack_that_runs_twice_per_call_ends_the_cache(pack, make, caplog):
    """What such a pass computes is right, whichever pass it first happens in, and the log says so once."""
    toy = built(make)
    name = "_forward" if hasattr(toy.model, "_forward") else "forward"
    once = getattr(toy.model, name)

    def twice(*args, **kwargs):
        return once(*args, **kwargs) + once(*args, **kwargs)

    wrapped, before = Cached(pack, toy, ALWAYS), bare_of(toy)
    setattr(toy.model, name, twice)
    try:
        for step in range(3):
            torch.testing.assert_close(wrapped(toy.x, step), 2 * before)
    finally:
        delattr(toy.model, name)
    assert wrapped.decisions[2:] == ["blocks run several times"] * 4
    assert len([r for r in caplog.records if "several times per call" in r.message]) == 1


def bare_of(toy):
    return toy(copied(toy.x), options_of(0)).clone()


def test_two_threads_with_one_network_take_turns(pack):
    toy, outs = built(toys.lumina_2), {}
    expected = [bare(toy, toy.x * (1 - step)).clone() for step in range(2)]

    def sample(name):
        with torch.inference_mode():
            wrapped = Cached(pack, toy, NEVER)
            outs[name] = [wrapped(toy.x * (1 - step), step) for step in range(2)], wrapped.decisions

    threads = [threading.Thread(target=sample, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for passes, decisions in outs.values():
        assert all(map(torch.equal, passes, expected))
        assert decisions == ["no anchor yet"] * 2 + ["error"] * 2


@pytest.mark.parametrize("make", [toys.lumina_2, toys.qwen_image], ids=lambda make: make.__name__)
def test_teacache_is_refused_by_name_where_nobody_knows_its_input(pack, make):
    patchers = pack.model_patchers
    attach = sys.modules[f"{patchers.__name__}.attach"]
    network = built(make).model
    family = patchers.family_of(network)
    with pytest.raises(ValueError, match=f"TeaCache .* {family.name}"):
        attach.check_stack(family, network, pack.dicache_core.CacheConfig(threshold=0.1, indicator="teacache"))


def test_a_class_of_the_hosts_belongs_to_one_family(pack):
    families = pack.model_patchers.FAMILIES
    models = [name for family in families for name in family.models]
    assert len(models) == len(set(models))
    assert len({family.name for family in families}) == len(families)


def test_table_of_models_has_these_families(pack):
    """Else docs/models.md is of another time: ``make models`` makes it anew."""
    file = Path(__file__).parents[2] / "bench" / "results" / "families.json"
    found = json.loads(file.read_text(encoding="utf-8"))["families"]
    assert [{k: v for k, v in row.items() if k not in shown.KINDS} for row in found] == shown.rows()


def test_compiled_blocks_stay_compiled_and_the_cache_outside(pack):
    """``torch.compile`` leaves a forward on the instance, which has to be there again afterwards."""
    torch._dynamo.reset()
    toy = toys.lumina_2()
    expected = bare_of(toy)
    toy.model.layers = torch.nn.ModuleList(torch.compile(layer, backend="eager") for layer in toy.model.layers)
    compiled, seen = [vars(layer)["forward"] for layer in toy.model.layers], []
    wrapped, graphs = Cached(pack, toy, ALWAYS), torch._dynamo.utils.counters["stats"]
    for step in range(3):
        torch.testing.assert_close(wrapped(toy.x, step), expected)
        assert [vars(layer)["forward"] for layer in toy.model.layers] == compiled
        seen.append(graphs["unique_graphs"])
    assert wrapped.decisions[2:] == ["reused"] * 4
    assert 0 < seen[0] == seen[-1], "compiled again"
    torch._dynamo.reset()
