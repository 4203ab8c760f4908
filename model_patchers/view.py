"""What a browser shows while ComfyUI works, and what is saved with it: the only place that asks the host's server.

All of it is optional.  The host may be a library without a server, its server may run no prompt, and a client may leave
in the middle; none of that is a reason to lose a picture.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ..dicache_core import RunStatistics
from .metadata import enter_run

EVENT = "dicache.step"

log = logging.getLogger("dicache")


class NoServerError(RuntimeError):
    """There is nothing to show anything with."""


class View:
    """A window on a run and its notes, each of which may be missing or break."""

    def __init__(self) -> None:
        self._window = Guard("nothing is shown on the node from here on")
        self._notes = Guard("what is saved does not say how it was sampled")

    def send(self, node_id: str, event: Callable[[], Mapping[str, Any]]) -> None:
        """Tell the client whose prompt runs what ``event`` makes, for the node it sees; nothing when nobody listens."""
        self._window.call(_send_event, node_id, event)

    def tell(self, node_id: str, text: str) -> None:
        """Show a line of text on a node, in place of the last one."""
        self._window.call(_send_text, node_id, text)

    def note(self, node_id: str, run: RunStatistics) -> None:
        """Note a run that has ended in the prompt that runs, whether anybody listens or not."""
        self._notes.call(_note_run, node_id, run)


class Guard:
    """Around calls that may fail: the first failure ends them for good, and one line in the log says why."""

    def __init__(self, lost: str) -> None:
        self._lost = lost
        self._closed = False
        self._lock = threading.Lock()  # hosts that split conds over devices report from several threads

    def call(self, function: Callable[..., None], *args: Any) -> None:
        if self._closed:
            return
        try:
            function(*args)
        except Exception as error:
            with self._lock:
                first, self._closed = not self._closed, True
            if first:
                log.warning("DiCache: %s (%r); all else goes on.", self._lost, error)


def _send_event(node_id: str, event: Callable[[], Mapping[str, Any]]) -> None:
    if server := _listening_server():
        where = {"node": _shown_node(node_id), "workflow": _running_workflow(server)}
        server.send_sync(EVENT, {**event(), **where}, server.client_id)


def _send_text(node_id: str, text: str) -> None:
    if server := _listening_server():
        server.send_progress_text(text, _shown_node(node_id), server.client_id)


def _note_run(node_id: str, run: RunStatistics) -> None:
    """In the prompt that is executed, which save nodes write down, and in the copy that the history keeps."""
    if (server := _server()) is None:
        return  # nobody saves a prompt
    running, _queued = server.prompt_queue.get_current_queue_volatile()
    copies = [prompt for _number, prompt_id, prompt, *_rest in running if prompt_id == run.prompt]
    enter_run(run, _shown_node(node_id), [_dynamic_prompt().get_original_prompt(), *copies])


def _shown_node(node_id: str) -> str:
    """The node in the user's graph that a node made while the prompt runs (a loop's body, say) stands for."""
    return _dynamic_prompt().get_display_node_id(node_id)


def _dynamic_prompt() -> Any:
    from comfy_execution.progress import get_progress_state  # needs more of the host than sampling does

    return get_progress_state().dynprompt


def _running_workflow(server: Any) -> str | None:
    """Id of the workflow whose prompt runs, where the client sent one: the user may be looking at another tab."""
    running, _queued = server.prompt_queue.get_current_queue_volatile()
    if not running:
        return None
    _number, _prompt_id, _prompt, extra_data, *_rest = running[0]
    # API clients leave out either, send null, or the workflow as text.
    workflow = (extra_data.get("extra_pnginfo") or {}).get("workflow")
    workflow = json.loads(workflow) if isinstance(workflow, str) and workflow else workflow
    return workflow.get("id") if isinstance(workflow, dict) else None


def _listening_server() -> Any | None:
    """ComfyUI's server while a client listens to the prompt that runs; ``None`` in headless API runs."""
    server = _server()
    if server is None:
        raise NoServerError("ComfyUI's server does not run in this process")
    return server if server.client_id in server.sockets else None


def _server() -> Any | None:
    """ComfyUI's server; ``None`` where there is none.

    A server that runs has been imported by its own program: importing it here would start half of one in a script, or
    run somebody else's module of that name.
    """
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
