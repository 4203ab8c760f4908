"""Where the interpreter's chunks of frames end inside a run costs nothing: page faults are counted, and no time.

A chunk that is fetched for a call and given back behind it is touched anew each time, which is a fault of a page.
"""

import pytest
from passes import Passes

resource = pytest.importorskip("resource")

CALLS = 200
DEEPEST = 400  # calls inside of one another: as many as several chunks hold


def leaf():
    pass


def faults_of_calls():
    """Page faults of many calls that are as deep as each other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(CALLS):
        leaf()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def deeper(depth, function):
    return deeper(depth - 1, function) if depth else function()


def most_faults():
    """At the worst of all depths from here on."""
    return max(deeper(depth, faults_of_calls) for depth in range(DEEPEST))


def within_a_run(comfy, model):
    """The same from where a sampler asks for a step."""
    found = []

    def look(executor, *args, **kwargs):
        found.append(most_faults())
        return executor(*args, **kwargs)

    patched, kinds = model.clone(), comfy.module("comfy.patcher_extension").WrappersMP
    patched.add_wrapper_with_key(kinds.PREDICT_NOISE, "test", look)
    Passes(comfy, "flux").sample(patched, steps=2)
    return max(found)


def test_no_call_inside_of_a_run_fetches_a_chunk(comfy, pack):
    model = comfy.load_model("flux")
    if within_a_run(comfy, model) < CALLS:
        pytest.skip("this Python keeps a chunk that it has fetched")
    presets = pack.dicache_core.presets
    for config in (presets.published("flux"), presets.preset_config(pack.dicache_core.DEFAULT_PRESET, "flux")):
        assert within_a_run(comfy, pack.model_patchers.attach(model, config)) < CALLS / 4
