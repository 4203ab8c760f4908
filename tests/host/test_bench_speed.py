"""The speed bench runs: what it measures is of a machine, that it measures is of this code."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import models
import runs
import scripted_skips
import steps
from loads import APART, CONTROL, GUIDED, PLAIN, Sampler

pytestmark = pytest.mark.one_host

SEVERAL = [("flux", PLAIN), ("flux", CONTROL), ("flux", APART), ("wan", GUIDED), ("sdxl", GUIDED)]


@pytest.fixture(scope="module")
def tiny(comfy):
    """``tiny(architecture, load)``: runs of a narrow network with few blocks, built once."""
    built = {}

    def make(architecture, load=PLAIN):
        shape = models.NARROW[architecture].tiny()
        if architecture not in built:
            changed = models.SHALLOW[architecture]
            built[architecture] = models.build(architecture, shape, torch.device("cpu"), **changed)
        return Sampler(comfy, architecture, shape, load, built[architecture])

    return make


@pytest.mark.parametrize(("name", "load"), SEVERAL, ids=lambda v: getattr(v, "name", v))
def test_every_load_is_timed_with_both_methods_and_without(tiny, name, load):
    """A run that does not skip every other call raises, see ``steps.turns_of``."""
    costs = steps.call_costs(tiny(name, load), rounds=1)
    for method, found in costs["methods"].items():
        assert found["computed_over_call"]["median"] > 0
        assert found["bytes_held"] > 0
        if method == "dicache":
            assert found["bytes_held"] == found["bytes_expected"]


@pytest.mark.parametrize(("method", "on_skipped"), [("dicache", 1), ("forecast", 0)])
def test_a_skipped_call_of_the_forecast_runs_nothing_of_the_network(tiny, method, on_skipped):
    """No embedding, no block, no head: its forward is not called; the paper's is, for its probe."""
    sampler, ran = tiny("flux"), []
    handle = sampler.network.register_forward_pre_hook(lambda *_: ran.append(None))
    config = scripted_skips.METHODS[method](sampler.pack, "flux", scripted_skips.at(2, 3, 5))
    try:
        sampler.run(sampler.cached(config), 8)
    finally:
        handle.remove()
    assert len(ran) == 5 + 3 * on_skipped


def test_a_method_is_timed_against_the_same_call_without_the_node(tiny):
    """The call beside it is of the same run and leaves no trace: the latent is that of a run that times nothing."""
    sampler, latents = tiny("flux"), []
    run = sampler.comfy.nodes.common_ksampler

    def kept(*args, **kwargs):
        latents.append(run(*args, **kwargs)[0]["samples"])
        return ({"samples": latents[-1]},)

    sampler.comfy.nodes.common_ksampler = kept
    try:
        steps.turns_of(sampler, "forecast", rounds=2)
        config = scripted_skips.forecast(
            sampler.pack, "flux", lambda step, _row: (step - scripted_skips.WARMUP) % 2 == 1
        )
        sampler.run(sampler.cached(config), scripted_skips.WARMUP + 5)
    finally:
        sampler.comfy.nodes.common_ksampler = run
    assert latents[0].equal(latents[1])


def test_caches_side_by_side_skip_the_same_steps(tiny):
    """Counted where the last block's own code runs, which raises where they do not; held against the statistics."""
    sampler = tiny("sdxl")
    found = runs.peers(sampler, steps=5, rounds=1)
    assert {name: row["skipped"] for name, row in found.items()} == {
        name: 0 if name == "baseline" else 1 for name in runs.NAMES
    }
    for method in scripted_skips.METHODS:
        own: list = []
        config = scripted_skips.METHODS[method](sampler.pack, "sdxl", scripted_skips.at(*runs.skipped_of(5)))
        sampler.run(sampler.cached(config, own), 5)
        assert own[-1].cells.count("r") == found[method]["skipped"]


def test_a_decision_is_timed(tiny):
    assert all(found["median"] > 0 for found in steps.decision_ms(tiny("flux"), rounds=2).values())


def test_parts_of_a_call_are_no_more_than_all(tiny):
    for name in ("flux", "sdxl"):
        share = steps.shares(tiny(name), calls=2)
        assert 0 <= share["probe"] < 1
        assert 0 < share["outside"] < 1
