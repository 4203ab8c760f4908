"""Wrong values, through the server: a message on the node that says what to write, and no traceback."""

import json
import math

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
        ({"preset": "turbo"}, "'turbo' not in .*'published', 'fidelity', 'balanced', 'fast'"),
        ({"cache_device": "tpu"}, "'tpu' not in .*'auto', 'gpu', 'cpu'"),
        ({"residual_bits": "4"}, "'4' not in .*'16', '8'"),
        ({"probe_depth": -4}, "Value -4 smaller than min of 0"),
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


def test_a_number_from_another_node_is_checked_when_it_arrives(server, graph):
    graph["20"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 99.0}}
    graph[APPLY]["inputs"]["threshold"] = ["20", 0]
    error = server.run(graph).error
    assert error["node_id"] == APPLY
    assert error["exception_message"].strip().splitlines() == [
        "threshold is 99: write -1 (the preset's value), 0 (never skips) or a number up to 10, such as 0.1 to 0.5"
    ]
    graph["20"]["inputs"]["value"] = 0.2
    assert server.run(graph).error is None


@pytest.mark.parametrize(
    ("settings", "message"), [("", "settings is empty: write"), ("published, often", "settings has 'often': write")]
)
def test_compare_is_refused_before_anything_runs(server, graph, settings, message):
    inputs = {key: graph[key] for key in ("1", "3", "4", "5")}
    sampler = {**graph[SAMPLER]["inputs"], "model": ["1", 0], "settings": settings}
    with pytest.raises(RuntimeError, match=message):
        server.run({**inputs, "9": {"class_type": "DiCacheCompare", "inputs": sampler}})
