"""Wrong use: an error that says what to do, or a run that computes; never a crash in the middle of sampling."""

import logging
import math

import pytest
import torch
from testbed.captions import CAPTIONS


def apply(comfy, model, **widgets):
    return comfy.node("DiCacheApply", model=model, **widgets)[0]


def run_cells(comfy, pack, config, **options):
    runs = []
    model = pack.model_patchers.attach(comfy.load_model("flux"), config, runs=runs)
    latent = comfy.sample(model, CAPTIONS[0], **{"steps": 10, "size": 16, **options})
    return latent, runs[0].cells


def test_a_method_that_looks_at_blocks_names_an_unknown_model_and_what_to_choose(comfy, pack):
    model = comfy.load_model("flux")
    model.model = type("Stranger", (), {"diffusion_model": torch.nn.Linear(1, 1)})()
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear.*fidelity, balanced or fast"):
        apply(comfy, model, preset="published")


@pytest.mark.parametrize("depth", [12, 999])
def test_probe_deeper_than_the_model(comfy, pack, depth):
    with pytest.raises(ValueError, match="has 12 blocks: write 1 to 11"):
        apply(comfy, comfy.load_model("flux"), probe_depth=depth)


@pytest.mark.parametrize(
    "widgets",
    [
        {"threshold": -0.5},
        {"threshold": math.nan},
        {"threshold": math.inf},
        {"probe_depth": -2},
        {"warmup_steps": -7},
    ],
)
def test_absurd_widgets_say_what_to_write(comfy, pack, widgets):
    with pytest.raises(ValueError, match="write"):
        apply(comfy, comfy.load_model("flux"), **widgets)


def test_deepest_probe_works(comfy, pack):
    config = pack.dicache_core.CacheConfig(threshold=9.0, probe_depth=11, warmup_steps=2)
    _, cells = run_cells(comfy, pack, config)
    assert cells == "wwrrrrrrrl"


def test_warmup_longer_than_the_schedule_computes_everything(comfy, pack, caplog):
    with caplog.at_level(logging.INFO, "dicache"):
        latent, cells = run_cells(comfy, pack, pack.dicache_core.CacheConfig(threshold=9.0, warmup_steps=500))
    assert cells == "w" * 10
    assert "the warm-up covers all 10 steps" in caplog.text
    assert torch.equal(latent, comfy.sample(comfy.load_model("flux"), CAPTIONS[0], steps=10, size=16))


def test_nan_latents_run_as_without_the_node(comfy, pack):
    start = torch.full((1, 16, 16, 16), math.nan)
    latent, cells = run_cells(comfy, pack, pack.dicache_core.CacheConfig(threshold=9.0, warmup_steps=2), latent=start)
    assert cells == "wwcccccccl"
    assert latent.isnan().all()


def test_a_single_step(comfy, pack):
    latent, cells = run_cells(comfy, pack, pack.dicache_core.presets.published("flux"), steps=1)
    assert len(cells) == 1
    assert torch.equal(latent, comfy.sample(comfy.load_model("flux"), CAPTIONS[0], steps=1, size=16))


def test_the_later_of_two_nodes_wins_and_says_so_once(comfy, pack, caplog):
    model = comfy.load_model("flux")
    first = apply(comfy, model, threshold=9.0, warmup_steps=2)
    with caplog.at_level(logging.INFO, "dicache"):
        second = apply(comfy, first, threshold=0.0)
        sampled = comfy.sample(second, CAPTIONS[0], steps=10, size=16)
    assert caplog.text.count("two DiCache nodes changed this model") == 1
    assert torch.equal(sampled, comfy.sample(model, CAPTIONS[0], steps=10, size=16))
    again = comfy.sample(first, CAPTIONS[0], steps=10, size=16)
    assert not torch.equal(again, sampled), "the earlier node's own branch lost its cache"


def test_few_steps_are_mentioned_once(comfy, pack, caplog):
    with caplog.at_level(logging.INFO, "dicache"):
        run_cells(comfy, pack, pack.dicache_core.presets.published("flux"), steps=4)
    assert caplog.text.count("runs of 4 steps leave little to skip") == 1
