"""The live view and the note of a run are optional: whatever the host's part of them lacks or raises, sampling goes on
and one line says why."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from passes import Passes

LINE = "the node shows nothing more of this run"
NOTE_LINE = "saved images do not say how they were sampled"


class BrokenError(RuntimeError):
    """The injected one."""


def broken(*_args, **_kwargs):
    raise BrokenError("broken")


class Server:
    """ComfyUI's server as far as the view asks it for anything, with a client that listens.

    Attributes:
        asked: names of the attributes that were looked up.
        sent: events that arrived.
        extra: what the client sent along with its prompt.
    """

    def __init__(self) -> None:
        self.asked, self.sent = set(), []
        self.extra = {"extra_pnginfo": {"workflow": {"id": "1f0e"}}}
        self.client_id, self.sockets = "me", {"me": 1}
        self.prompt_queue = SimpleNamespace(
            get_current_queue_volatile=lambda: ([(0, "prompt", {}, self.extra, [])], [])
        )
        self.send_sync = lambda event, data, sid: self.sent.append(data)

    def __getattribute__(self, name):
        if not name.startswith("__") and name not in ("asked", "sent", "extra"):
            self.asked.add(name)
        return super().__getattribute__(name)


@pytest.fixture
def passes(comfy, pack):
    return Passes(comfy, "flux")


@pytest.fixture
def prompt():
    """The prompt that runs."""
    return {"7": {}}


@pytest.fixture
def listening(comfy, pack, monkeypatch, prompt):
    listening = Server()
    monkeypatch.setattr(comfy.module("server").PromptServer, "instance", listening)
    monkeypatch.setattr(sys.modules[f"{pack.model_patchers.__name__}.run_reporter"], "SHORTEST_INTERVAL", 0.0)
    progress = comfy.module("comfy_execution.progress")
    graph = comfy.module("comfy_execution.graph").DynamicPrompt(prompt)
    monkeypatch.setattr(progress, "global_progress_registry", progress.ProgressRegistry("prompt", graph))
    return listening


def sample(passes, **attached):
    config = passes.core.CacheConfig(threshold=0.2, warmup_steps=2)
    model = passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=passes.runs, **attached)
    return passes.sample(model)


class Lost:
    """The client leaves while the third event is on its way."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        if self.calls > 2:
            raise KeyError("me")


class Faults:
    """One per method: something that the host lacks or raises, ``(listening, progress module, monkeypatch)``."""

    @staticmethod
    def no_server_module(listening, progress, patch):
        patch.delitem(sys.modules, "server")

    @staticmethod
    def another_module_of_that_name(listening, progress, patch):
        patch.setitem(sys.modules, "server", ModuleType("server"))

    @staticmethod
    def a_server_that_is_not_made_yet(listening, progress, patch):
        patch.delattr(sys.modules["server"].PromptServer, "instance")

    @staticmethod
    def client_id(listening, progress, patch):
        patch.delattr(listening, "client_id")

    @staticmethod
    def sockets(listening, progress, patch):
        listening.sockets = None

    @staticmethod
    def prompt_queue(listening, progress, patch):
        patch.delattr(listening, "prompt_queue")

    @staticmethod
    def get_current_queue_volatile(listening, progress, patch):
        listening.prompt_queue.get_current_queue_volatile = broken

    @staticmethod
    def a_queue_of_another_shape(listening, progress, patch):
        listening.prompt_queue.get_current_queue_volatile = lambda: ([("prompt",)], [])

    @staticmethod
    def a_workflow_that_is_no_json(listening, progress, patch):
        listening.extra = {"extra_pnginfo": {"workflow": "{"}}

    @staticmethod
    def send_sync(listening, progress, patch):
        listening.send_sync = broken

    @staticmethod
    def a_client_that_leaves_in_the_middle(listening, progress, patch):
        listening.send_sync = Lost()

    @staticmethod
    def no_progress_module(listening, progress, patch):
        patch.setitem(sys.modules, "comfy_execution.progress", None)

    @staticmethod
    def get_progress_state(listening, progress, patch):
        patch.setattr(progress, "get_progress_state", broken)

    @staticmethod
    def no_prompt_in_progress(listening, progress, patch):
        patch.setattr(progress, "get_progress_state", lambda: None)

    @staticmethod
    def progress_without_dynprompt(listening, progress, patch):
        patch.delattr(progress.global_progress_registry, "dynprompt")

    @staticmethod
    def get_display_node_id(listening, progress, patch):
        patch.setattr(progress.global_progress_registry.dynprompt, "get_display_node_id", broken, raising=True)


FAULTS = [name for name in vars(Faults) if not name.startswith("_")]


NOT_NOTED = {
    "prompt_queue", "get_current_queue_volatile", "a_queue_of_another_shape", "no_progress_module",
    "get_progress_state", "no_prompt_in_progress", "progress_without_dynprompt", "get_display_node_id",
}  # fmt: skip
NO_SERVER = {"no_server_module", "another_module_of_that_name", "a_server_that_is_not_made_yet"}


@pytest.fixture(scope="module")
def clean(comfy):
    """What comes out when nobody looks on."""
    return sample(Passes(comfy, "flux"))


@pytest.mark.parametrize("fault", [*FAULTS, "nowhere_for_notes", "no_original_prompt"])
def test_sampling_goes_on_and_one_line_says_what_is_missing(
    comfy, passes, clean, listening, prompt, monkeypatch, caplog, fault
):
    spoil = getattr(Faults, fault, getattr(NoteFaults, fault, None))
    spoil(listening, comfy.module("comfy_execution.progress"), monkeypatch)
    with caplog.at_level(logging.INFO, logger="dicache"):
        out = sample(passes, node_id="7")
    assert torch.equal(out, clean)
    assert passes.run.finished
    not_shown, not_noted = (
        [r.levelname for r in caplog.records if line in r.getMessage()] for line in (LINE, NOTE_LINE)
    )
    assert not_shown == (["WARNING"] if fault in FAULTS else []), "one line, and no more"
    assert bool(listening.sent) == (fault not in FAULTS)
    if fault in NO_SERVER:
        assert "_meta" not in prompt["7"], "nobody saves it"
        assert not_noted == []
    elif fault in NOT_NOTED or hasattr(NoteFaults, fault):
        assert not_noted == ["WARNING"]
    else:
        assert [run["cells"] for run in prompt["7"]["_meta"]["dicache"]] == [passes.run.cells]
        assert not_noted == []


class NoteFaults:
    """More of them, which the window does not see."""

    @staticmethod
    def nowhere_for_notes(listening, progress, patch):
        progress.global_progress_registry.dynprompt.get_original_prompt()["7"]["_meta"] = None  # a client's own idea

    @staticmethod
    def no_original_prompt(listening, progress, patch):
        patch.setattr(progress.global_progress_registry.dynprompt, "get_original_prompt", broken)


def test_text_for_a_node_goes_to_its_workflow(passes, listening, pack):
    """By an event of the pack's own: newer front ends take the host's line of text away at the end of a job."""
    pack.model_patchers.server_events.ServerEvents().tell("7", "at most 3 s left")
    assert listening.sent == [{"text": "at most 3 s left", "node": "7", "workflow": "1f0e"}]
    assert listening.asked == {"client_id", "sockets", "prompt_queue", "send_sync"}


def test_every_call_has_its_fault(passes, listening):
    sample(passes, node_id="7")
    assert len(listening.sent) == 11, "a step each, and the end"
    assert listening.asked == {"client_id", "sockets", "prompt_queue", "send_sync"}
    assert listening.asked <= set(FAULTS)


def test_without_a_node_the_server_is_not_asked(passes, listening, monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "server")
    with caplog.at_level(logging.INFO, logger="dicache"):
        sample(passes)
    assert listening.asked == set()
    assert LINE not in caplog.text


@pytest.mark.parametrize(
    ("workflow", "known"),
    [
        ({"id": "1f0e"}, "1f0e"),
        ('{"id": "1f0e"}', "1f0e"),
        ("", None),
        (None, None),
        ({}, None),
        ("[]", None),
        ("3", None),
    ],
    ids=repr,
)
def test_workflows_that_clients_send(passes, listening, workflow, known, caplog):
    listening.extra = {"extra_pnginfo": {"workflow": workflow}}
    sample(passes, node_id="7")
    assert {event["workflow"] for event in listening.sent} == {known}
    assert LINE not in caplog.text


def test_a_client_that_comes_back_sees_the_rest(passes, listening):
    """It is not a failure that nobody listens for a while."""
    away = range(3, 6)
    listening.sockets = type("Sockets", (), {"count": 0, "__contains__": lambda self, sid: self.came() not in away})()
    type(listening.sockets).came = lambda self: setattr(self, "count", self.count + 1) or self.count
    sample(passes, node_id="7")
    assert len(listening.sent) == 11 - len(away)
    assert listening.sent[-1]["finished"]


def test_a_node_that_nobody_knows_is_shown_under_its_own_name(passes, listening):
    sample(passes, node_id="no such node")
    assert {event["node"] for event in listening.sent} == {"no such node"}
