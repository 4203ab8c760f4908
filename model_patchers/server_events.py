"""What a browser shows while ComfyUI works, and what is saved with it: the only place that asks the host's server.

All of it is optional.  The host may be a library without a server, its server may run no prompt, and a client may leave
in the middle; none of that is a reason to lose an image.  Save nodes write the prompt into the file, and a prompt's
nodes have a place for notes, ``_meta``, where the front end keeps their titles.  A run that ends writes itself there,
at the node it belongs to, so that whatever is saved after its sampler carries it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from comfy_execution.utils import get_executing_context

from ..dicache_core import RunStatistics, run_json
from ..dicache_core.run_log import MOST_RUNS

KEY = "dicache"

Prompt = Mapping[str, dict[str, Any]]  # {node id: node}
Note = dict[str, Any]


class Notes:
    """The runs that were noted, by the nodes that they belong to and that sampled them.

    The host keeps what a sampler made, and in later prompts nothing is sampled: there the runs are noted again, as long
    as the sampler and all that leads to it are the same.
    """

    def __init__(self) -> None:
        self._sampled: OrderedDict[tuple[str, str], tuple[Prompt, list[Note]]] = OrderedDict()

    def enter(self, run: RunStatistics, node_id: str, sampler: str | None, prompts: Iterable[Prompt]) -> None:
        """Note a run that has ended, at its node in each of the prompts; of many runs the latest ``MOST_RUNS``."""
        note = {**run_json(run), "sampler": sampler, "prompt": run.prompt}
        for prompt in prompts:
            meta = _meta(prompt, node_id)
            earlier = [n for n in meta.get(KEY, []) if n.get("sampler") != sampler or n.get("prompt") == run.prompt]
            meta[KEY] = [*earlier, note][-MOST_RUNS:]
            if sampler is not None:
                self._keep(node_id, sampler, prompt, [n for n in meta[KEY] if n["sampler"] == sampler])

    def enter_again(self, node_id: str, prompts: Iterable[Prompt]) -> None:
        """Note at a node, when a prompt begins, the runs of samplers whose output the host may have kept."""
        for prompt in prompts:
            found = [
                note
                for (node, sampler), (sampled, notes) in self._sampled.items()
                if node == node_id and sampler in prompt and leading_to(sampler, prompt) == sampled
                for note in notes
            ]
            if found:
                _meta(prompt, node_id)[KEY] = found[-MOST_RUNS:]

    def _keep(self, node_id: str, sampler: str, prompt: Prompt, notes: list[Note]) -> None:
        self._sampled.pop((node_id, sampler), None)
        self._sampled[node_id, sampler] = leading_to(sampler, prompt), notes
        if len(self._sampled) > MOST_RUNS:
            self._sampled.popitem(last=False)


def leading_to(node_id: str, prompt: Prompt) -> Prompt:
    """The class and the inputs of a node and of all nodes before it: what the host goes by to keep its output."""
    found: dict[str, dict[str, Any]] = {}
    ahead = [node_id]
    while ahead:
        name = ahead.pop()
        if name in found or name not in prompt:
            continue
        node = prompt[name]
        found[name] = {key: node.get(key) for key in ("class_type", "inputs")}
        links = [value[0] for value in node.get("inputs", {}).values() if isinstance(value, list) and value]
        ahead += [link for link in links if isinstance(link, str)]
    return found


def _meta(prompt: Prompt, node_id: str) -> dict[str, Any]:
    """The place for notes at a node."""
    return prompt.get(node_id, {}).setdefault("_meta", {})


EVENT = "dicache.step"
TEXT = "dicache.text"

log = logging.getLogger("dicache")
notes = Notes()


class NoServerError(RuntimeError):
    """There is nothing to show anything with."""


class ServerEvents:
    """A window on a run and its notes, each of which may be missing or break."""

    def __init__(self) -> None:
        self._window = Guard("the node shows nothing more of this run")
        self._notes = Guard("saved images do not say how they were sampled")

    def send(self, node_id: str, event: Callable[[], Mapping[str, Any]]) -> None:
        """Tell the client whose prompt runs what ``event`` makes, for the node it sees; nothing when nobody listens."""
        self._window.call(_send_event, node_id, event)

    def overridden(self, node_id: str, by: str | None) -> None:
        """Tell the client that another node samples in the place of ``node_id``; ``by`` names it, where it is known."""
        self._window.call(_send_event, node_id, lambda: {"overridden_by": by and _shown_node(by)})

    def tell(self, node_id: str, text: str) -> None:
        """Show text on a node, in place of the last one."""
        self._window.call(_send_event, node_id, lambda: {"text": text}, TEXT)

    def note(self, node_id: str, run: RunStatistics) -> None:
        """Note a run that has ended in the prompt that runs, whether anybody listens or not."""
        self._notes.call(_note_run, node_id, run)


def note_again() -> None:
    """Note the runs of the node that the host asks at a prompt's beginning: its sampler's output may have been kept."""
    Guard("saved images do not say how they were sampled").call(_note_again)


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
                log.warning("DiCache: %s (%r). Sampling goes on.", self._lost, error)


def _send_event(node_id: str, event: Callable[[], Mapping[str, Any]], kind: str = EVENT) -> None:
    if server := _listening_server():
        where = {"node": _shown_node(node_id), "workflow": _running_workflow(server)}
        server.send_sync(kind, {**event(), **where}, server.client_id)


def _note_run(node_id: str, run: RunStatistics) -> None:
    """In the prompt that is executed, which save nodes write down, and in the copy that the history keeps."""
    if (server := _server()) is None:
        return  # nobody saves a prompt
    context = get_executing_context()
    sampler = None if context is None else _shown_node(context.node_id)
    notes.enter(run, _shown_node(node_id), sampler, _prompts(server, run.prompt))


def _note_again() -> None:
    if (server := _server()) is not None and (context := get_executing_context()) is not None:
        notes.enter_again(context.node_id, _prompts(server, context.prompt_id))


def _prompts(server: Any, prompt_id: str | None) -> list[dict[str, dict]]:
    """The prompt that is executed and its copies."""
    running, _queued = server.prompt_queue.get_current_queue_volatile()
    copies = [prompt for _number, running_id, prompt, *_rest in running if running_id == prompt_id]
    return [_dynamic_prompt().get_original_prompt(), *copies]


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
        raise NoServerError("ComfyUI's server does not run here")
    return server if server.client_id in server.sockets else None


def _server() -> Any | None:
    """ComfyUI's server; ``None`` where there is none.

    A server that runs has been imported by its own program: importing it here would start half of one in a script, or
    run somebody else's module of that name.
    """
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
