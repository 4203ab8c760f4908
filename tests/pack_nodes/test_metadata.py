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
    (run,) = json.loads(picture.text["dicache"])
    assert run["node"] == APPLY
    assert run["cells"] == saved.data("dicache.step")[-1]["cells"]
    assert run["settings"]["indicator"]
    assert "lanes" not in run, "a line and not a log"
    assert json.loads(picture.text["workflow"]) == WORKFLOW
    assert json.loads(picture.text["prompt"])[SAMPLER]


def test_the_history_carries_it_too(server, saved):
    history = json.loads(server.get(f"/history/{saved.prompt_id}"))[saved.prompt_id]
    (run,) = history["prompt"][3]["extra_pnginfo"]["dicache"]
    assert run["finished"]
    assert run["steps"] == 10


def test_without_the_node_there_is_nothing(server):
    graph = demo_graph(CAPTIONS[0], steps=3, seed=78)
    graph[SAMPLER]["inputs"]["model"] = graph.pop(APPLY)["inputs"]["model"]
    run = server.run(graph, extra_data={"extra_pnginfo": {"workflow": WORKFLOW}})
    picture = Image.open(io.BytesIO(server.image(run.outputs[SAVE]["images"][0])))
    assert "dicache" not in picture.text


def test_a_client_that_sends_no_metadata_is_served(server):
    assert server.run(demo_graph(CAPTIONS[0], steps=3, seed=79)).error is None
