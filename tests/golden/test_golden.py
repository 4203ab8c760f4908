"""In a real ComfyUI results, node schemas, kept files and what a run says of itself stay what they were.

What is meant to change is written anew by ``python tests/host/run.py --script tests/golden/make.py``.
"""

import json

import jsonschema
import pytest
from golden import record


@pytest.fixture(scope="module")
def runs(comfy, pack):
    return {run.name: run for run in record.testbed_runs(comfy)}


def golden(name: str):
    return json.loads((record.FOLDER / name).read_text(encoding="utf-8"))


def test_decisions_and_latents_of_a_trained_model_stay(runs):
    found = {name: run.golden for name, run in runs.items()}
    assert record.differences(golden("testbed.json"), found, record.TRAINED) == []


def test_runs_show_something(runs):
    """Most skip some steps and compute others; else the file would hold nothing."""
    cells = {name: run.statistics.cells for name, run in runs.items()}
    idle = {name for name, found in cells.items() if not 0 < found.count("r") + found.count("p") < len(found) - 2}
    assert idle == {"calibration"}


def test_node_schemas_stay(comfy):
    assert record.differences(golden("schemas.json"), record.schemas(comfy), 0.0) == []


def test_events_reports_metadata_and_history_of_a_run_stay(comfy):
    assert record.differences(golden("run.json"), record.jsons(comfy), record.TOLERANCE) == []


ENVELOPES = {"event": {"node", "workflow"}, "metadata and history": {"sampler", "prompt"}, "report": set()}


def test_every_json_of_a_run_is_the_same_by_the_schema(comfy):
    """An event says for which node and workflow, a note who sampled it; else they are one JSON, of which a report has
    more."""
    schema = golden("run.schema.json")
    found = record.told(comfy)
    (report,), (note,) = found["report"], found["metadata and history"]["dicache"]
    runs = {"event": found["event"], "report": report, "metadata and history": note}
    for name, run in runs.items():
        assert ENVELOPES[name] <= set(run)
        bare = {key: value for key, value in run.items() if key not in ENVELOPES[name]}
        jsonschema.validate(bare, schema)
        assert {key: bare[key] for key in schema["required"]} == {key: report[key] for key in schema["required"]}


def test_kept_files_stay_and_are_read(pack, comfy, runs):
    for name, text in record.files(comfy, runs["calibration"]).items():
        assert record.differences(golden(name), json.loads(text), record.TOLERANCE) == []
    core = pack.dicache_core
    for name, kind in {"calibration.json": core.Calibration, "tuned.json": core.tuning.store.TunedModel}.items():
        text = (record.FOLDER / name).read_text(encoding="utf-8")
        assert kind.from_json(text).to_json() + "\n" == text
