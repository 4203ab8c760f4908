"""The pack where ComfyUI is a library, and several samplings at once in threads of one process."""

import contextvars
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from passes import Passes

CHILD = Path(__file__).with_name("library_child.py")


@pytest.fixture(scope="module")
def answer(host):
    done = subprocess.run(
        [sys.executable, str(CHILD), host.comfy], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_plain_script_samples_through_a_cache(answer):
    assert answer["equal"]
    assert answer["None"]["cells"] == answer["7"]["cells"]
    assert {"w", "r", "l"} <= set(answer["7"]["cells"])


def test_the_pack_does_not_bring_the_server_in(answer):
    assert answer["server"] is False


def test_the_log_says_once_why_nothing_is_shown(answer):
    with_node, without = (
        [line for line in answer[node]["log"] if "Sampling goes on" in line] for node in ("7", "None")
    )
    assert without == [], "there is no node to show anything on"
    assert len(with_node) == 1
    assert "the node shows nothing more" in with_node[0]
    assert "server does not run here" in with_node[0]


def test_a_script_may_sample_outside_inference_mode(answer):
    """What the cache keeps is no part of the host's graph; every sampler is in ``tests/patchers/test_sampled.py``."""
    assert {name: set(cells) >= set("wrl") for name, cells in answer["without"].items()} == {
        "published euler": True, "published uni_pc": True, "balanced euler": True, "balanced uni_pc": True,
    }  # fmt: skip


def in_threads(*works):
    """What each of ``works`` returns, all of them begun at once in threads of their own; the first error is raised."""
    start, results, errors = threading.Barrier(len(works)), [None] * len(works), []

    def run(place, work):
        try:
            start.wait(60)
            results[place] = work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=contextvars.Context().run, args=(run, i, w)) for i, w in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    if errors:
        raise errors[0]
    return results


@pytest.fixture
def noise_one_at_a_time(comfy, monkeypatch):
    """The host draws every noise from torch's one global generator: two threads would mix theirs."""
    drawing, lock = comfy.module("comfy.sample"), threading.Lock()
    draw = drawing.prepare_noise

    def alone(*args, **kwargs):
        with lock:
            return draw(*args, **kwargs)

    monkeypatch.setattr(drawing, "prepare_noise", alone)


@pytest.mark.usefixtures("noise_one_at_a_time")
def test_two_prompts_in_two_threads(comfy):
    """Two models, each as it samples alone; each run belongs to its own prompt."""
    utils = comfy.module("comfy_execution.utils")
    both = [Passes(comfy, "flux"), Passes(comfy, "wan")]
    models = [passes.cached() for passes in both]
    alone = [passes.sample(model) for passes, model in zip(both, models, strict=True)]
    decisions = [passes.decisions() for passes in both]

    def prompt(number):
        def work():
            with utils.CurrentNodeContext(prompt_id=f"prompt {number}", node_id="7"):
                return both[number].sample(models[number])

        return work

    for _ in range(2):
        together = in_threads(prompt(0), prompt(1))
        for number, passes in enumerate(both):
            assert torch.equal(together[number], alone[number])
            assert passes.decisions() == decisions[number]
            assert passes.run.prompt == f"prompt {number}"
