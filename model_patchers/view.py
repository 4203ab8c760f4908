"""What a browser shows while ComfyUI works: the only place that asks the host's server for anything.

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

EVENT = "dicache.step"

log = logging.getLogger("dicache")


class NoServerError(RuntimeError):
    """There is nothing to show anything with."""


class View:
    """A window that may be missing or break: the first failure closes it for good, and one line in the log says why."""

    def __init__(self) -> None:
        self._closed = False
        self._lock = threading.Lock()  # hosts that split conds over devices report from several threads

    def send(self, node_id: str, event: Callable[[], Mapping[str, Any]]) -> None:
        """Tell the client whose prompt runs what ``event`` makes, for the node it sees; nothing when nobody listens."""
        self._show(_send_event, node_id, event)

    def write(self, node_id: str, text: str) -> None:
        """Write ``text`` on a node in the browser of the client whose prompt runs."""
        self._show(_write_text, node_id, text)

    def _show(self, show: Callable[..., None], *args: Any) -> None:
        if self._closed:
            return
        try:
            show(*args)
        except Exception as error:
            with self._lock:
                first, self._closed = not self._closed, True
            if first:
                log.warning("DiCache: nothing is shown on the node from here on (%r); all else goes on.", error)


def show_text(node_id: str, text: str) -> None:
    """Write ``text`` on a node in the browser of the client whose prompt runs, where there is one."""
    View().write(node_id, text)


def _send_event(node_id: str, event: Callable[[], Mapping[str, Any]]) -> None:
    if server := _listening_server():
        where = {"node": _shown_node(node_id), "workflow": _running_workflow(server)}
        server.send_sync(EVENT, {**event(), **where}, server.client_id)


def _write_text(node_id: str, text: str) -> None:
    if server := _listening_server():
        # Two spaces before a line's end: Nodes 2.0 reads Markdown, which would else make one paragraph of the lines.
        server.send_progress_text(text.replace("\n", "  \n"), _shown_node(node_id), server.client_id)


def _shown_node(node_id: str) -> str:
    """The node in the user's graph that a node made while the prompt runs (a loop's body, say) stands for."""
    from comfy_execution.progress import get_progress_state  # needs more of the host than sampling does

    return get_progress_state().dynprompt.get_display_node_id(node_id)


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
    """ComfyUI's server while a client listens to the prompt that runs; ``None`` in headless API runs.

    A server that runs has been imported by its own program: importing it here would start half of one in a script, or
    run somebody else's module of that name.
    """
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is None:
        raise NoServerError("ComfyUI's server does not run in this process")
    return server if server.client_id in server.sockets else None
