"""Graphs that nobody's front end would make, through the server: an error on the node, and the server goes on."""

import json
import math

import pytest
from demo_graph import APPLY, CAPTION, LATENT, LOADER, NEGATIVE, SAMPLER, SAVE, demo_graph

POLICY = {"policy": "dicache", "target": "", "threshold": -1.0, "warmup_steps": -1, "mask": "", "curve": ""}
HUGE = 10**400


@pytest.fixture
def graph(captions):
    return demo_graph(captions[0], steps=3)


def refusal(server, graph) -> dict:
    """The node errors of a graph that is refused before anything runs."""
    with pytest.raises(RuntimeError, match="ComfyUI refused the graph") as refused:
        server.run(graph)
    reply = json.loads(str(refused.value).split(":", 1)[1])
    assert "traceback" not in json.dumps(reply).lower()
    return reply["node_errors"]


def failure(server, graph) -> dict:
    """The error of a graph that fails while it runs, which must be before the sampler begins."""
    run = server.run(graph)
    assert run.error is not None
    assert SAMPLER not in {data["node"] for data in run.data("executing")}
    return run.error


@pytest.mark.parametrize(
    "inputs",
    [
        {"threshold": "much"},
        {"threshold": {"value": 0.2}},
        {"threshold": [0.2]},
        {"threshold": [1, 2, 3]},
        {"threshold": None},
        {"threshold": -math.inf},
        {"threshold": math.inf},
        {"threshold": ["1", 0]},
        {"probe_depth": "1; rm"},
        {"probe_depth": 1e300},
        {"probe_depth": -(10**18)},
        {"probe_depth": math.nan},
        {"warmup_steps": "few"},
        {"warmup_steps": 10**18},
        {"warmup_steps": HUGE},
        {"max_consecutive": {}},
        {"start_percent": "half"},
        {"start_percent": math.nan},
        {"end_percent": math.nan},
        {"end_percent": 1e308},
        {"preset": 7},
        {"preset": None},
        {"preset": ""},
        {"preset": "__class__"},
        {"cache_device": "cuda:0; import os"},
        {"policy": ["1", 0]},
        {"policy": ["2", 0]},
    ],
    ids=repr,
)
def test_apply_refuses_before_anything_runs(server, graph, inputs):
    graph[APPLY]["inputs"].update(inputs)
    (field,) = inputs
    errors = refusal(server, graph)[APPLY]["errors"]
    assert any(field in error["details"] for error in errors), "no message names the field"


@pytest.mark.parametrize("link", [["404", 0], ["9", 99], [{}, 0], ["1", "0"]], ids=repr)
def test_a_link_that_leads_nowhere(server, graph, link):
    """The host looks such links up before it asks any node, and fails; all that counts is that nothing runs."""
    graph["9"] = {"class_type": "DiCachePolicy", "inputs": POLICY}
    graph[APPLY]["inputs"]["policy"] = link
    with pytest.raises(RuntimeError, match="ComfyUI refused the graph"):
        server.run(graph)


def test_a_missing_model_is_named(server, graph):
    del graph[APPLY]["inputs"]["model"]
    (error,) = refusal(server, graph)[APPLY]["errors"]
    assert "model" in error["details"]


@pytest.mark.parametrize("missing", ["preset", "threshold", "probe_depth", "warmup_steps"])
def test_a_missing_widget_means_its_default(server, graph, missing):
    del graph[APPLY]["inputs"][missing]
    assert server.run(graph).error is None


@pytest.mark.parametrize("policy", ["dicache", 7, {"indicator": "delta_y"}, ["a", "b", "c"]], ids=repr)
def test_a_policy_that_is_none_says_what_to_connect(server, graph, policy):
    graph[APPLY]["inputs"]["policy"] = policy
    if isinstance(policy, list):
        assert APPLY in refusal(server, graph)
    else:
        error = failure(server, graph)
        assert error["node_id"] == APPLY
        assert "connect the output of a DiCache Policy, or nothing" in error["exception_message"]


@pytest.mark.parametrize(
    "inputs",
    [
        {"policy": "best"},
        {"policy": None},
        {"target": ["2x"]},
        {"target": {"__value__": ["2x"]}},
        {"target": "0x"},
        {"target": "-2x"},
        {"target": "nanx"},
        {"target": "1e999x"},
        {"target": "2x; import os"},
        {"target": "9" * 5000},
        {"threshold": "much"},
        {"threshold": math.nan},
        {"threshold": 1e30},
        {"warmup_steps": -5},
        {"mask": "1,2"},
        {"mask": ["1", "0", "1"]},
        {"curve": ["a"]},
        {"mask": "../1"},
        {"curve": "../../etc/passwd"},
        {"curve": "/etc/passwd"},
        {"curve": "C:\\Windows\\win"},
        {"curve": "a" * 65},
        {"curve": "a\x00b"},
        {"curve": ".hidden"},
    ],
    ids=lambda inputs: repr(inputs)[:40],
)
def test_policy_refuses_before_anything_runs(server, graph, inputs):
    graph["9"] = {"class_type": "DiCachePolicy", "inputs": POLICY | inputs}
    graph[APPLY]["inputs"]["policy"] = ["9", 0]
    assert "9" in refusal(server, graph)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"policy": "magcache"}, "DiCache Calibrate"),
        ({"policy": "magcache", "curve": "never_made"}, "Run DiCache Calibrate first"),
    ],
)
def test_what_a_policy_lacks_is_said_before_sampling(server, graph, inputs, message):
    graph["9"] = {"class_type": "DiCachePolicy", "inputs": POLICY | inputs}
    graph[APPLY]["inputs"]["policy"] = ["9", 0]
    assert message in failure(server, graph)["exception_message"]


NAMES = ["", "../x", "a/b", "a\\b", "/tmp/x", "~", "x.json", "a b", "\u202egnp", ["x"], {"a": 1}]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_calibrate_writes_under_plain_names_only(server, graph, name):
    sampler = {key: graph[SAMPLER]["inputs"][key] for key in ("positive", "negative", "latent_image", "seed", "cfg")}
    sampler |= {"model": ["1", 0], "steps": 4, "sampler_name": "euler", "scheduler": "simple", "name": name}
    inputs = {key: graph[key] for key in (LOADER, CAPTION, NEGATIVE, LATENT)}
    assert "9" in refusal(server, {**inputs, "9": {"class_type": "DiCacheCalibrate", "inputs": sampler}})


@pytest.mark.parametrize("settings", [["fast"], {"a": 1}, 99.5, None, "fast; import os", "nan", "1e400"], ids=repr)
def test_compare_refuses_before_anything_runs(server, graph, settings):
    sampler = {**graph[SAMPLER]["inputs"], "model": ["1", 0], "settings": settings}
    inputs = {key: graph[key] for key in (LOADER, CAPTION, NEGATIVE, LATENT)}
    assert "9" in refusal(server, {**inputs, "9": {"class_type": "DiCacheCompare", "inputs": sampler}})


def test_graphs_of_earlier_and_later_versions_run(server, graph):
    """Once there were three widgets; a later version may have more, which this one does not know."""
    old = {"model": ["1", 0], "threshold": -1.0, "probe_depth": -1, "warmup_steps": -1}
    graph[APPLY]["inputs"] = old
    first = server.run(graph)
    assert first.error is None
    graph[APPLY]["inputs"] = {**old, "momentum": 0.9, "__class__": "x", "": None, "settings": {"a": [1, 2, 3]}}
    later = server.run(graph)
    assert later.error is None
    assert SAVE in later.outputs


def test_the_server_still_samples(server, graph):
    """Last, behind everything above."""
    graph[SAMPLER]["inputs"]["seed"] = 99
    run = server.run(graph)
    assert run.error is None
    assert run.data("dicache.step")[-1]["finished"] is True
