"""Wrong values, through the server: a message on the node that says what to write, and no traceback."""

import json
import math
import re

import pytest
from demo_graph import APPLY, SAMPLER, demo_graph


@pytest.fixture
def graph(captions):
    return demo_graph(captions[0], steps=3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"threshold": math.nan}, "threshold is nan: write -1"),
        ({"threshold": 1e9}, r"threshold is 1e\+09: write -1 .* up to 10"),
        ({"threshold": -7.5}, "threshold is -7.5: write -1"),
        ({"start_percent": 0.9, "end_percent": 0.1}, "start_percent 0.9 to end_percent 0.1 .* write two numbers"),
        ({"start_percent": -1.0}, "write two numbers between 0 and 1"),
        ({"preset": "turbo"}, "'turbo' not in .*'fidelity', 'balanced', 'fast', 'published'"),
        ({"cache_device": "tpu"}, "'tpu' not in .*'auto', 'gpu', 'cpu'"),
        ({"residual_bits": "4"}, "'4' not in .*'16', '8'"),
        ({"probe_depth": -4}, "probe_depth is -4: write .* 1 to 1000, or -1"),
        ({"probe_depth": 0}, "probe_depth is 0: write .* 1 to 1000, or -1"),
        ({"probe_depth": 10**6}, "probe_depth is 1000000: write"),
        ({"warmup_steps": -4}, "Value -4 smaller than min of -1"),
        ({"max_consecutive": 10**6}, "Value 1000000 bigger than max"),
    ],
)
def test_apply_is_refused_before_anything_runs(server, graph, inputs, message):
    graph[APPLY]["inputs"].update(inputs)
    with pytest.raises(RuntimeError, match=message) as refusal:
        server.run(graph)
    reply = json.loads(str(refusal.value).split(":", 1)[1])
    assert list(reply["node_errors"]) == [APPLY]
    assert "traceback" not in json.dumps(reply).lower()


@pytest.mark.parametrize(
    ("policy", "typed", "message"),
    [
        (
            {"policy": "foca"},
            {"threshold": 0.4},
            "threshold is 0.4, but this policy computes every n-th step: write -1",
        ),
        ({"policy": "forecast"}, {"threshold": 0.4}, "threshold is 0.4, but this policy follows a target"),
        (
            {"policy": "fbcache", "target": "2x"},
            {"threshold": 0.4},
            "the connected DiCache Policy has the target 2x: write -1",
        ),
        ({"policy": "teacache"}, {"probe_depth": 2}, "probe_depth is 2, but the connected DiCache Policy .*: write -1"),
    ],
)
def test_a_number_that_the_connected_policy_does_not_know_is_refused_on_the_node(server, graph, policy, typed, message):
    """It used to be swallowed: a threshold of 0.4 with a policy that counts steps computed all of them."""
    inputs = {"target": "", "threshold": -1.0, "warmup_steps": -1, **policy}
    graph["20"] = {"class_type": "DiCachePolicy", "inputs": inputs}
    graph[APPLY]["inputs"] |= {"policy": ["20", 0], **typed}
    run = server.run(graph)
    assert run.error["node_id"] == APPLY
    assert re.search(message, run.error["exception_message"])
    assert SAMPLER not in {data["node"] for data in run.data("executing")}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"interval": 0}, "interval is 0: write 1"),
        ({"interval": -3}, "interval is -3: write 1"),
        ({"interval": 10**400}, "interval|convert"),
        ({"threshold": 99.0}, "threshold is 99: write -1"),
    ],
    ids=str,
)
def test_policy_is_refused_before_anything_runs(server, graph, inputs, message):
    graph["20"] = {"class_type": "DiCachePolicy", "inputs": {
        "policy": "foca", "target": "", "threshold": -1.0, "warmup_steps": -1, **inputs,
    }}  # fmt: skip
    graph[APPLY]["inputs"]["policy"] = ["20", 0]
    with pytest.raises(RuntimeError, match=message):
        server.run(graph)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"policy": "fbcache", "interval": 3}, "interval is 3, but this policy has no interval"),
        ({"policy": "foca", "threshold": 4.0}, "threshold is 4, but this policy computes every n-th step: write -1"),
        ({"policy": "step_mask"}, "step_mask needs a mask: write 1 for a computed and 0 for a skipped step"),
        ({"policy": "step_mask", "mask": "1,0", "target": "3x"}, "target is '3x', but this policy follows its mask"),
        ({"policy": "foca", "interval": 3, "target": "2x"}, "target is '2x' and interval is 3: set either target or"),
        ({"policy": "fbcache", "threshold": 0.2, "target": "2x"}, "target is '2x' and threshold is 0.2"),
        ({"policy": "fbcache", "mask": "1,0"}, "mask is '1,0', but fbcache uses none: clear it, or choose step_mask"),
        (
            {"policy": "foca", "curve": "mine"},
            "calibration is 'mine', but foca uses none: clear it, or choose one of magcache",
        ),
        ({"policy": "smoothcache"}, "smoothcache needs a calibration: run DiCache Calibrate"),
    ],
)
def test_numbers_that_end_each_other_are_refused_on_the_policy(server, graph, inputs, message):
    graph["20"] = {"class_type": "DiCachePolicy", "inputs": {
        "target": "", "threshold": -1.0, "warmup_steps": -1, **inputs,
    }}  # fmt: skip
    graph[APPLY]["inputs"]["policy"] = ["20", 0]
    error = server.run(graph).error
    assert error["node_id"] == "20"
    assert message in error["exception_message"]


def test_a_number_from_another_node_is_checked_when_it_arrives(server, graph):
    graph["20"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 99.0}}
    graph[APPLY]["inputs"]["threshold"] = ["20", 0]
    error = server.run(graph).error
    assert error["node_id"] == APPLY
    assert error["exception_message"].strip().splitlines() == [
        "threshold is 99: write -1 (automatic), 0 (never skips) or a number up to 10, such as 0.1 to 0.5"
    ]
    graph["20"]["inputs"]["value"] = 0.2
    assert server.run(graph).error is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "settings is empty: write"),
        ("published, often", "settings has 'often': write"),
        ("0x", "target is '0x': write"),
    ],
)
def test_compare_is_refused_before_anything_runs(server, graph, settings, message):
    inputs = {key: graph[key] for key in ("1", "3", "4", "5")}
    sampler = {**graph[SAMPLER]["inputs"], "model": ["1", 0], "settings": settings}
    with pytest.raises(RuntimeError, match=message):
        server.run({**inputs, "9": {"class_type": "DiCacheCompare", "inputs": sampler}})
