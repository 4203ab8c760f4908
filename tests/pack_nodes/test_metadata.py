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
    assert "samples" not in run, "a line and not a log"
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


# ---------------------------------------------------------------- many runs, and prompts that sample nothing


def carried(server, run) -> list[dict]:
    picture = Image.open(io.BytesIO(server.image(run.outputs[SAVE]["images"][0])))
    return json.loads(picture.text["prompt"])[APPLY]["_meta"].get("dicache", [])


def test_a_later_prompt_whose_sampling_is_cached_carries_the_run(server):
    graph = demo_graph(CAPTIONS[0], steps=4, seed=80)
    first = server.run(graph)
    graph[SAVE]["inputs"]["filename_prefix"] = "once_more"
    again = server.run(graph)
    assert not again.data("dicache.step"), "nothing was sampled"
    assert carried(server, again) == carried(server, first) != []
    history = json.loads(server.get(f"/history/{again.prompt_id}"))[again.prompt_id]
    assert history["prompt"][2][APPLY]["_meta"]["dicache"] == carried(server, first)
    graph[SAMPLER]["inputs"] |= {"seed": 81, "steps": 5}
    other = server.run(graph)
    assert [run["steps"] for run in carried(server, other)] == [5], "what another sampling was is not carried along"


@pytest.fixture
def noted(pack):
    """``noted(prompt, runs)``: enters so many runs of the sampler "3" at the node "2" of a prompt."""
    core, notes = pack.dicache_core, pack.model_patchers.server_events.notes.__class__()

    def enter(prompt: dict, runs: int, name: str = "a", sampler: str = "3"):
        for _ in range(runs):
            run = core.RunStatistics(core.schedule.Schedule((1.0, 0.5, 0.0)), core.CacheConfig())
            run.prompt, run.finished = name, True
            notes.enter(run, "2", sampler, [prompt])
        return notes

    return enter


def prompt_of(seed: int = 0) -> dict:
    sampler = {"class_type": "KSampler", "inputs": {"model": ["2", 0], "seed": seed}}
    other = {"class_type": "KSampler", "inputs": {"model": ["2", 0], "latent_image": ["3", 0]}}
    apply = {"class_type": "DiCacheApply", "inputs": {"model": ["1", 0]}}
    return {"1": {"class_type": "Loader", "inputs": {"name": "a"}}, "2": apply, "3": sampler, "4": other}


def test_the_notes_are_bounded_as_the_log_of_runs_is(pack, noted):
    prompt = prompt_of()
    noted(prompt, pack.dicache_core.run_log.MOST_RUNS + 59)
    assert len(prompt["2"]["_meta"]["dicache"]) == pack.dicache_core.run_log.MOST_RUNS


def test_only_runs_of_the_same_sampling_are_noted_again(noted):
    notes = noted(prompt_of(), 2)
    same, changed, without = prompt_of(), prompt_of(seed=1), prompt_of()
    del without["3"]
    for prompt in (same, changed, without):
        notes.enter_again("2", [prompt])
    assert len(same["2"]["_meta"]["dicache"]) == 2
    assert "_meta" not in changed["2"]
    assert "_meta" not in without["2"]


def test_a_sampler_that_runs_again_takes_the_place_of_its_earlier_runs_only(noted):
    first = prompt_of()
    noted(first, 1)
    notes = noted(first, 1, sampler="4")
    later = prompt_of()
    notes.enter_again("2", [later])
    assert [note["sampler"] for note in later["2"]["_meta"]["dicache"]] == ["3", "4"]
    noted(later, 1, name="b", sampler="4")
    assert [(note["sampler"], note["prompt"]) for note in later["2"]["_meta"]["dicache"]] == [("3", "a"), ("4", "b")]
