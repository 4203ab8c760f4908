"""Which ranks share a sample, and what they may use; the ranks themselves run in tests/host/test_over_ray.py."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest


@pytest.fixture
def ranks(pack):
    return sys.modules[f"{pack.model_patchers.__name__}.ranks"]


@pytest.fixture
def actors(pack):
    return sys.modules[f"{pack.model_patchers.__name__}.ray_actors"]


@pytest.fixture
def split(monkeypatch):
    """``split(sp=2)``: xDiT's module of groups with groups of that many ranks, as raylight leaves it."""

    def split(initialized=True, **sizes):
        module = ModuleType("xfuser.core.distributed")
        module.model_parallel_is_initialized = lambda: initialized
        for name in ("sp", "cfg", "pp"):
            group = SimpleNamespace(device_group=f"{name} group", world_size=sizes.get(name, 1))
            setattr(module, f"get_{name}_group", lambda group=group: group)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return split


def test_alone(ranks, load_model):
    model = load_model("wan")
    assert ranks.shared(model) == ranks.Shared("wan", sliced=True)
    assert ranks.sharing_groups(model) == []


def test_xdit_without_groups_is_as_none(ranks, load_model, split):
    split(initialized=False, sp=4)
    assert ranks.sharing_groups(load_model("wan")) == []


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        (dict(sp=2), ["sp group"]),
        (dict(cfg=2), ["cfg group"]),
        (dict(sp=4, cfg=2), ["sp group", "cfg group"]),
        (dict(pp=2), []),
    ],
)
def test_sums_go_over_the_ranks_that_share_a_sample(ranks, load_model, split, sizes, groups):
    """And over no others: those of data parallelism sample something else, at a pace of their own."""
    split(**sizes)
    assert ranks.sharing_groups(load_model("flux")) == groups


def test_ranks_that_share_the_weights_decide_together(ranks, load_model, split, monkeypatch):
    model = load_model("flux")
    model.patch_fsdp = lambda: None  # of raylight's own kind of ModelPatcher
    world = SimpleNamespace(
        is_initialized=lambda: True, get_world_size=lambda: 4, group=SimpleNamespace(WORLD="all ranks")
    )
    monkeypatch.setattr(ranks, "dist", world)
    split(sp=2)
    assert ranks.sharing_groups(model) == ["all ranks"]


ALL = ("flux", "hunyuan_video", "wan", "qwen_image", "z_image", "unet")


@pytest.mark.parametrize(("architecture", "sliced"), [(name, name == "wan") for name in ALL])
def test_only_wan_keeps_its_slice_through_the_stack(ranks, load_model, split, architecture, sliced):
    split(sp=2, cfg=1)
    found = ranks.shared(load_model(architecture))
    assert (found.sliced, found.tokens, found.conds) == (sliced, 2, 1)
    assert (found.breaks_stack is None) == sliced


def test_a_reference_in_front_of_the_picture_is_on_the_first_rank_alone(ranks, load_model, split):
    split(sp=2)
    model = load_model("wan")
    network = model.model.diffusion_model
    network.ref_conv, before = SimpleNamespace(), network.ref_conv
    try:
        assert not ranks.shared(model).sliced
    finally:
        network.ref_conv = before


def used(actors, ways, caplog, preset="balanced", policy=None, **numbers):
    """Indicator of the settings that are used, and what the log says."""
    with caplog.at_level(logging.WARNING, logger="dicache"):
        config = actors.usable(ways, preset, policy, **numbers)
    return config, [record.getMessage() for record in caplog.records]


def test_wan_may_use_every_policy_on_split_tokens(pack, ranks, actors, caplog):
    ways = ranks.Shared("wan", sliced=True, tokens=4)
    assert used(actors, ways, caplog, "published") == (pack.dicache_core.resolve("wan", "published"), [])
    for name, policy in pack.dicache_core.policies.POLICIES.items():
        if name != "seacache" and not policy.calibrated and policy.limited_by != "mask":
            actors.usable(ways, "balanced", policy)


def test_a_filter_over_the_whole_image_is_refused_on_split_tokens(pack, ranks, actors):
    policy = pack.dicache_core.policies.named_policy("seacache")
    with pytest.raises(ValueError, match=r"SeaCache filters all tokens.*split over 4 ranks: choose"):
        actors.usable(ranks.Shared("wan", sliced=True, tokens=4), "balanced", policy)
    assert actors.usable(ranks.Shared("wan", sliced=True), "balanced", policy).indicator == "seacache"


@pytest.mark.parametrize("architecture", ["flux", "chroma", "hunyuan_video"])
def test_a_preset_of_blocks_gives_way_where_streams_split_the_stack(pack, ranks, actors, caplog, architecture):
    ways = ranks.Shared(architecture, sliced=False, tokens=2)
    config, told = used(actors, ways, caplog, "published", warmup_steps=4, end_percent=0.9)
    assert config == pack.dicache_core.resolve(architecture, "balanced", warmup_steps=4, end_percent=0.9)
    assert not pack.dicache_core.needs_stack(config)
    (line,) = told
    assert all(words in line for words in ("preset published", "2 ranks", "balanced is used"))


@pytest.mark.parametrize("preset", ["fidelity", "balanced", "fast"])
def test_own_presets_work_however_it_is_split(pack, ranks, actors, caplog, preset):
    ways = ranks.Shared("flux", sliced=False, tokens=2, conds=2)
    assert used(actors, ways, caplog, preset) == (pack.dicache_core.resolve("flux", preset), [])


@pytest.mark.parametrize("asked", [dict(threshold=0.3), dict(probe_depth=2), dict(policy="dicache")])
def test_what_was_asked_for_and_cannot_work_is_refused(pack, ranks, actors, asked):
    if "policy" in asked:
        asked = {"policy": pack.dicache_core.policies.named_policy(asked["policy"])}
    ways = ranks.Shared("flux", sliced=False, tokens=2)
    with pytest.raises(ValueError, match=r"looks at the model's blocks.*split over 2 ranks.*choose"):
        actors.usable(ways, "balanced", **{"policy": None, **asked})


def test_zero_never_skips_and_is_never_refused(ranks, actors):
    assert actors.usable(ranks.Shared("flux", sliced=False, tokens=2), "balanced", None, threshold=0.0).threshold == 0


def test_pipefusion_is_refused(ranks, actors):
    with pytest.raises(ValueError, match="PipeFusion"):
        actors.usable(ranks.Shared("wan", sliced=True, stages=2), "balanced", None)
