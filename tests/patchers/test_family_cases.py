"""What single families have of their own under a cache, and the table of families."""

import json
import sys
import threading
from pathlib import Path

import pytest
import shown
import torch
import torch._dynamo.utils
import toys
import toys_keyed
import variants
from cached import (
    ALWAYS,
    NEVER,
    Cached,
    assert_near,
    assert_same,
    built,
    changed,
    counted,
    plain,
    scaled,
    stack_of,
    tensors,
)
from host_network import noise
from test_unet import sd_1
from toy import copied

pytestmark = pytest.mark.usefixtures("inference")


# ---------------------------------------------------------------- replacements by key


@pytest.mark.parametrize("make", toys_keyed.KEYED, ids=lambda make: make.__name__)
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
        expected = [t.clone() for t in tensors(plain(toy, toy.x, **options))]
        assert not torch.equal(tensors(plain(toy, toy.x))[0], expected[0]), "the replacement did nothing"
        assert_same(Cached(pack, toy, NEVER)(toy.x, 0, options), expected)
        reused = Cached(pack, toy, ALWAYS)
        reused(toy.x, 0, options)
        calls.clear()
        assert_near(reused(toy.x, 1, options), expected)
        assert reused.decisions[toy.batch :] == ["reused"] * toy.batch
        assert len(calls) == (1 if place == 0 else 0), "a skipped pass skips it too"


@pytest.mark.parametrize(
    "make", [toys_keyed.qwen_image, toys_keyed.mage_flow, toys_keyed.lens, toys.z_image], ids=lambda make: make.__name__
)
def test_patches_between_blocks_act_behind_the_last_one_only(pack, make):
    """As control models do, in place: a skipped pass must not pay for what the estimate overwrites."""
    toy, seen = built(make), []

    def control(args):
        seen.append(args["block_index"])
        args["img"] += 0.1 * noise(*args["img"].shape, seed=args["block_index"])
        return args

    options = {"patches": {"double_block": [control]}}
    expected = plain(toy, toy.x, **options).clone()
    assert not torch.equal(plain(toy, toy.x), expected), "the patch did nothing"
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
    toy = built(toys_keyed.hidream_o1)
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
    "make", [toys.lumina_2, toys_keyed.stable_diffusion_3, variants.flux, sd_1], ids=lambda make: make.__name__
)
def test_a_stack_that_runs_twice_per_call_ends_the_cache(pack, make, caplog):
    """What such a pass computes is right, whichever pass it first happens in, and the log says so once."""
    toy = built(make)
    name = "_forward" if hasattr(toy.model, "_forward") else "forward"
    once = getattr(toy.model, name)

    def twice(*args, **kwargs):
        return once(*args, **kwargs) + once(*args, **kwargs)

    wrapped, before = Cached(pack, toy, ALWAYS), plain(toy, copied(toy.x)).clone()
    setattr(toy.model, name, twice)
    try:
        for step in range(3):
            torch.testing.assert_close(wrapped(toy.x, step), 2 * before)
    finally:
        delattr(toy.model, name)
    assert wrapped.decisions[2:] == ["blocks run several times"] * 4
    assert len([r for r in caplog.records if "several times in one step" in r.message]) == 1


def test_two_threads_with_one_network_take_turns(pack):
    toy, outs = built(toys.lumina_2), {}
    expected = [plain(toy, toy.x * (1 - step)).clone() for step in range(2)]

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


@pytest.mark.parametrize(("indicator", "named"), [("teacache", "TeaCache"), ("seacache", "SeaCache")])
@pytest.mark.parametrize("make", [toys.lumina_2, toys_keyed.qwen_image], ids=lambda make: make.__name__)
def test_a_rule_is_refused_by_name_where_nobody_knows_its_input(pack, make, indicator, named):
    patchers = pack.model_patchers
    attach = sys.modules[f"{patchers.__name__}.attach"]
    network = built(make).model
    family = patchers.family_of(network)
    with pytest.raises(ValueError, match=f"{named} looks at .* {family.name}: .* or seacache_latent"):
        attach.check_stack(family, network, pack.dicache_core.CacheConfig(threshold=0.1, indicator=indicator))


def test_a_class_of_the_hosts_belongs_to_one_family(pack):
    families = pack.model_patchers.FAMILIES
    models = [name for family in families for name in family.models]
    assert len(models) == len(set(models))
    assert len({family.name for family in families}) == len(families)


def test_table_of_models_has_these_families(pack):
    """Else docs/models.md is of another time: ``make models`` makes it anew."""
    file = Path(__file__).parents[2] / "tools" / "bench" / "results" / "families.json"
    found = json.loads(file.read_text(encoding="utf-8"))["families"]
    assert [{k: v for k, v in row.items() if k not in shown.FOUND} for row in found] == shown.rows()


def test_compiled_blocks_stay_compiled_and_the_cache_outside(pack):
    """``torch.compile`` leaves a forward on the instance, which has to be there again afterwards."""
    torch._dynamo.reset()
    toy = toys.lumina_2()
    expected = plain(toy, copied(toy.x)).clone()
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
