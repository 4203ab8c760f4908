"""A shared picture says how it was made: in its own metadata, and in the server's history."""

import io
import json

import pytest
from demo_graph import APPLY, SAMPLER, SAVE, demo_graph
from PIL import Image
from testbed.captions import CAPTIONS

WORKFLOW = {"id": "0b1c", "nodes": []}


@pytest.fixture(scope="module")
def saved(server):
    """The run of a graph that saves its picture, as a browser queues it."""
    graph = demo_graph(CAPTIONS[0], steps=10, seed=77)
    run = server.run(graph, extra_data={"extra_pnginfo": {"workflow": WORKFLOW}})
    assert run.error is None
    return run


def test_the_picture_carries_the_run(server, saved):
    picture = Image.open(io.BytesIO(server.image(saved.outputs[SAVE]["images"][0])))
    prompt = json.loads(picture.text["prompt"])
    (run,) = prompt[APPLY]["_meta"]["dicache"]
    assert run["cells"] == saved.data("dicache.step")[-1]["cells"]
    assert run["settings"]["indicator"]
    assert "lanes" not in run, "a line and not a log"
    assert prompt[APPLY]["_meta"]["title"] == "DiCache Apply", "what was noted there before stays"
    assert prompt[SAMPLER]["inputs"]["seed"] == 77
    assert json.loads(picture.text["workflow"]) == WORKFLOW


def test_the_history_carries_it_too(server, saved):
    history = json.loads(server.get(f"/history/{saved.prompt_id}"))[saved.prompt_id]
    (run,) = history["prompt"][2][APPLY]["_meta"]["dicache"]
    assert run["finished"]
    assert run["steps"] == 10


def test_without_the_node_there_is_nothing(server):
    graph = demo_graph(CAPTIONS[0], steps=3, seed=78)
    graph[SAMPLER]["inputs"]["model"] = graph.pop(APPLY)["inputs"]["model"]
    run = server.run(graph, extra_data={"extra_pnginfo": {"workflow": WORKFLOW}})
    picture = Image.open(io.BytesIO(server.image(run.outputs[SAVE]["images"][0])))
    assert 'dicache"' not in picture.text["prompt"]


def test_the_next_prompt_begins_anew(server, saved):
    """Also for a client that sends no metadata of its own."""
    run = server.run(demo_graph(CAPTIONS[0], steps=3, seed=79))
    picture = Image.open(io.BytesIO(server.image(run.outputs[SAVE]["images"][0])))
    assert [run["steps"] for run in json.loads(picture.text["prompt"])[APPLY]["_meta"]["dicache"]] == [3]
