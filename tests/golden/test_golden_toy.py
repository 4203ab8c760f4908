"""What the core decides and rebuilds stays what it was, for every policy and preset; ``make.py`` writes it anew."""

import json

from golden import record


def test_decisions_and_latents_of_a_toy_run_stay():
    golden = json.loads((record.FOLDER / "toy.json").read_text(encoding="utf-8"))
    found = {run.name: run.golden for run in record.toy_runs()}
    assert record.differences(golden, found, record.TOLERANCE) == []


def test_a_difference_is_found():
    golden = {"a": [1.0, None, "x"], "b": {"c": True}}
    assert record.differences(golden, {"a": [1.00001, None, "x"], "b": {"c": True}}, 1e-4) == []
    found = {"a": [1.001, 0.0, "y"], "b": {"c": 1, "d": 0}}
    assert record.differences(golden, found, 1e-4) == [
        "/a/0: 1.0 became 1.001",
        "/a/1: None became 0.0",
        "/a/2: 'x' became 'y'",
        "/b: 'd' is new",
        "/b/c: True became 1",
    ]
    assert record.differences({"a": 1.0}, {}, 1e-4) == [": 'a' is gone"]
