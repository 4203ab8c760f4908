"""The pack in ComfyUI's own server: HTTP API, events, errors, and nothing left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from demo_graph import APPLY, SAMPLER, SAVE, demo_graph
from layout import REPO

HOLD_A_SERVER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
sys.path[:0] = {paths!r}
from comfy_server import ComfyServer
from provision import Host
with ComfyServer(Host(*{host!r})) as server:
    print(server.process.pid, server.base, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def graph(captions):
    return demo_graph(captions[0], steps=10)


def test_node_is_offered_with_a_tooltip_on_every_input(server):
    info = json.loads(server.get("/object_info/DiCacheApply"))["DiCacheApply"]
    assert info["display_name"] == "DiCache Apply"
    inputs = {**info["input"]["required"], **info["input"].get("optional", {})}
    assert {"model", "threshold", "probe_depth", "warmup_steps"} <= set(inputs)
    assert [name for name, (_, options) in inputs.items() if not options.get("tooltip")] == []


def test_workflow_runs_and_reports_its_steps(server, graph):
    run = server.run(graph)
    assert run.error is None
    last = run.data("dicache.step")[-1]
    assert last["node"] == APPLY
    assert last["finished"] is True
    assert len(last["cells"]) == last["steps"] == 10
    assert set(last["cells"]) <= set("wcrl")
    assert server.image(run.outputs[SAVE]["images"][0]).startswith(b"\x89PNG")
    assert run.seconds(SAMPLER) > 0


def test_events_go_to_the_client_whose_prompt_runs(server, graph):
    graph[SAMPLER]["inputs"]["seed"] = 7
    mine, other = server.client_id, "somebody-else"
    server.client_id = other
    run = server.run(graph)
    server.client_id = mine
    assert run.data("dicache.step")
    assert server.run(graph).data("dicache.step") == []  # everything cached: nothing ran, nothing is reported


def test_wrong_graph_is_refused_with_the_reason(server, graph):
    graph[APPLY]["inputs"]["threshold"] = "much"
    with pytest.raises(RuntimeError, match="threshold"):
        server.run(graph)


def test_error_while_sampling_reaches_the_client(server, graph):
    graph[APPLY]["inputs"]["probe_depth"] = 64
    run = server.run(graph)
    assert run.error is not None
    assert run.error["node_id"] == APPLY
    graph[APPLY]["inputs"]["probe_depth"] = -1
    assert server.run(graph).error is None, "the server does not recover"


def test_log_has_no_traceback_from_the_pack(server):
    assert "Cannot import" not in server.log
    assert "IMPORT FAILED" not in server.log


@pytest.mark.parametrize("ending", ["interrupt", "kill"])
def test_no_server_outlives_its_owner(host, ending):
    if ending == "interrupt" and os.name == "nt":
        pytest.skip("Ctrl-C cannot be sent to one process on Windows")
    paths = [str(REPO / "tests" / "host"), str(REPO / "tests")]
    script = HOLD_A_SERVER.format(paths=paths, host=(host.version, host.python, host.comfy))
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with owner:
        pid, base = owner.stdout.readline().split(maxsplit=1)
        server = psutil.Process(int(pid))
        owner.kill() if ending == "kill" else owner.send_signal(signal.SIGINT)
        gone, _ = psutil.wait_procs([server], timeout=20)
        if not gone:
            owner.kill()
        assert gone, "the server is still running"
        owner.wait(20)
    if ending == "interrupt":
        assert not Path(base.strip()).exists()
    shutil.rmtree(base.strip(), ignore_errors=True)  # a killed owner cannot clean up


def test_failed_start_shows_the_log(host):
    from comfy_server import ComfyServer

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="no-such-option"):
        ComfyServer(host, arguments=("--no-such-option",)).__enter__()
    assert time.monotonic() - began < 60
