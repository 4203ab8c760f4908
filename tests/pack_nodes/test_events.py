"""The live view's events: once per step, throttled, to nobody who does not listen, and under the right node."""

import copy
from types import SimpleNamespace

import pytest
from demo_graph import APPLY, DECODE, LATENT, SAMPLER, demo_graph

EVENT = "dicache.step"


@pytest.fixture
def graph(captions):
    graph = demo_graph(captions[0], steps=12)
    graph[APPLY]["inputs"]["preset"] = "published"
    return graph


def finished(run) -> list[dict]:
    return [event for event in run.data(EVENT) if event["finished"]]


def test_one_event_per_step_and_a_last_one(server, graph):
    graph[LATENT]["inputs"]["batch_size"] = 4
    graph[SAMPLER]["inputs"]["seed"] = 21
    run = server.run(graph)
    events = run.data(EVENT)
    assert {event["node"] for event in events} == {APPLY}
    *running, last = events
    steps = [event["evaluations"] for event in running]
    assert steps == sorted(set(steps)), "a step was reported twice"
    assert [event["finished"] for event in running] == [False] * len(running)
    assert last["finished"]
    assert last["evaluations"] == last["steps"] == 12
    assert len(last["accumulated_errors"]) == len(last["cells"]) == 12
    assert last["computed"] + last["reused"] == 12
    assert last["effective"]["threshold"] == 0.4
    assert (last["effective"]["probe_depth"], last["effective"]["warmup_steps"]) == (1, 3)


def test_each_of_two_samplers_of_one_node_has_a_last_event(server, graph):
    graph[SAMPLER]["inputs"]["seed"] = 22
    graph["60"] = copy.deepcopy(graph[SAMPLER])
    graph["60"]["inputs"] |= {"latent_image": [SAMPLER, 0], "denoise": 0.5}
    graph[DECODE]["inputs"]["samples"] = ["60", 0]
    graph[APPLY]["inputs"]["threshold"] = 0.31
    assert [event["steps"] for event in finished(server.run(graph))] == [12, 12]
    graph["60"]["inputs"]["seed"] = 23  # the node's own output is kept: its third run
    assert len(finished(server.run(graph))) == 1


def test_an_event_names_the_workflow_that_a_browser_sent_along(server, graph):
    graph[SAMPLER]["inputs"]["seed"] = 24
    run = server.run(graph, extra_data={"extra_pnginfo": {"workflow": {"id": "1f0e"}}})
    assert {event["workflow"] for event in run.data(EVENT)} == {"1f0e"}
    graph[SAMPLER]["inputs"]["seed"] = 25
    run = server.run(graph, extra_data={"extra_pnginfo": None})
    assert {event["workflow"] for event in run.data(EVENT)} == {None}


class FakeServer:
    """What the reporter asks of the server."""

    def __init__(self, client_id, sockets):
        self.client_id, self.sockets, self.sent = client_id, sockets, []
        self.prompt_queue = SimpleNamespace(get_current_queue_volatile=lambda: ([], []))

    def send_sync(self, event, data, sid):
        self.sent.append((event, data, sid))


@pytest.fixture
def listener(comfy, monkeypatch):
    """``listener(client_id, sockets)``: puts a server in the place of ComfyUI's and returns it."""

    def put(client_id, sockets):
        fake = FakeServer(client_id, sockets)
        monkeypatch.setattr(comfy.module("server").PromptServer, "instance", fake)
        return fake

    return put


def sample_twelve_steps(comfy, pack, **attached):
    config = pack.dicache_core.presets.published("flux")
    model = pack.model_patchers.attach(comfy.load_model("flux"), config, **attached)
    comfy.sample(model, "plain green | circle white large still", steps=12, size=8)


@pytest.mark.parametrize(
    ("client_id", "sockets", "node_id"),
    [(None, {"browser": 1}, "7"), ("gone", {"browser": 1}, "7"), ("browser", {"browser": 1}, None)],
    ids=["script", "closed browser", "no node"],
)
def test_nothing_is_sent_when_nobody_listens(comfy, pack, listener, client_id, sockets, node_id):
    server = listener(client_id, sockets)
    sample_twelve_steps(comfy, pack, node_id=node_id)
    assert server.sent == []


def test_fast_steps_are_throttled(comfy, pack, listener, monkeypatch):
    server = listener("browser", {"browser": 1})
    sample_twelve_steps(comfy, pack, node_id="7")
    few = len(server.sent)
    reporter = next(m for name, m in vars(pack.model_patchers).items() if name == "run_reporter")
    monkeypatch.setattr(reporter, "SHORTEST_INTERVAL", 0.0)
    server.sent.clear()
    sample_twelve_steps(comfy, pack, node_id="7")
    assert len(server.sent) == 12 + 1
    assert few < 13
    assert all(sid == "browser" for _, _, sid in server.sent)


@pytest.mark.parametrize(("node_id", "shown"), [("4:2:7", "4:2:7"), ("9.0.0.7", "7")], ids=["subgraph", "loop body"])
def test_the_event_goes_to_the_node_that_the_user_sees(comfy, pack, listener, monkeypatch, node_id, shown):
    graph = comfy.module("comfy_execution.graph").DynamicPrompt({"7": {}, "9": {}, "4:2:7": {}})
    graph.add_ephemeral_node("9.0.0.7", {}, "9", "7")
    progress = comfy.module("comfy_execution.progress")
    monkeypatch.setattr(progress, "global_progress_registry", progress.ProgressRegistry("prompt", graph))
    server = listener("browser", {"browser": 1})
    sample_twelve_steps(comfy, pack, node_id=node_id)
    assert {data["node"] for _, data, _ in server.sent} == {shown}


def test_the_first_of_two_nodes_in_a_row_is_told_of_the_second(server, graph):
    later, branch = "70", "71"
    graph[SAMPLER]["inputs"]["seed"] = 31
    graph[later] = copy.deepcopy(graph[APPLY])
    graph[later]["inputs"] |= {"model": [APPLY, 0], "preset": "fast"}
    graph[SAMPLER]["inputs"]["model"] = [later, 0]
    told = [event for event in server.run(graph).data(EVENT) if event["node"] == APPLY]
    assert [event["overridden_by"] for event in told] == [later]
    graph[branch] = copy.deepcopy(graph[SAMPLER])
    graph[branch]["inputs"] |= {"model": [APPLY, 0], "latent_image": [SAMPLER, 0], "denoise": 0.5}
    graph[DECODE]["inputs"]["samples"] = [branch, 0]
    graph[SAMPLER]["inputs"]["seed"] = 32
    told = [event for event in server.run(graph).data(EVENT) if event["node"] == APPLY]
    assert told[-1]["finished"], "its own branch samples last"
    graph[branch]["inputs"]["latent_image"], graph[SAMPLER]["inputs"]["latent_image"] = [LATENT, 0], [branch, 0]
    graph[DECODE]["inputs"]["samples"] = [SAMPLER, 0]
    graph[branch]["inputs"]["seed"] = 33
    told = [event for event in server.run(graph).data(EVENT) if event["node"] == APPLY]
    assert told, "its own branch samples first"
    assert not [event for event in told if "overridden_by" in event]
