"""A workflow file as a prompt of ComfyUI's HTTP API.

The front end makes a prompt from its canvas (``graphToPrompt``), and a script has no canvas.  So this reads the file:
links, values of widgets by their place, and what the front end leaves out (notes, muted and bypassed nodes, reroutes).
``tests/web/test_workflows.py`` compares both for every template.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Prompt = dict[str, dict[str, Any]]  # node id -> {"class_type", "inputs"}
Info = dict[str, dict[str, Any]]  # /object_info: node type -> what the server says of it
Specs = dict[str, tuple[Any, dict[str, Any]]]  # input -> (type or choices, options)

MUTED, BYPASSED = 2, 4  # modes of a node
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC}
SEEDS = ("seed", "noise_seed")
CONTROLS = ("fixed", "increment", "decrement", "randomize")  # "control after generate", saved behind a seed
NOTES = ("Note", "MarkdownNote")
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"  # nodes of the front end alone
EXPORT = "open it in ComfyUI and save it by Workflow, Export (API)"


class WorkflowError(ValueError):
    """A workflow that cannot be used; the message says what was found and what to do."""


def api_prompt(workflow: Any, info: Info) -> Prompt:
    """The prompt of a file that was saved or exported (API).

    Raises:
        WorkflowError: for anything else, and for a node that the server does not know.
    """
    if isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list):
        return _Canvas(workflow, info).prompt()
    if not isinstance(workflow, dict) or not all(isinstance(n, dict) and "class_type" in n for n in workflow.values()):
        raise WorkflowError("this file is no workflow: save one in ComfyUI by Workflow, Save or Export (API)")
    _check_known((node["class_type"] for node in workflow.values()), info)
    return {name: {"class_type": node["class_type"], "inputs": dict(node["inputs"])} for name, node in workflow.items()}


def inputs_of(kind: str, info: Info) -> Specs:
    """The inputs of a node type in their order."""
    return _specs(info[kind]["input"])


def _specs(groups: dict[str, dict[str, list[Any]]]) -> Specs:
    """Required inputs come first, as the front end shows them."""
    found = {name: spec for group in ("required", "optional") for name, spec in groups.get(group, {}).items()}
    return {name: (spec[0], spec[1] if len(spec) > 1 else {}) for name, spec in found.items()}


def _check_known(types: Iterator[str], info: Info) -> None:
    unknown = sorted(set(types) - set(info))
    if unknown:
        raise WorkflowError(
            f"the server has no node {', '.join(unknown)}: install the pack that brings it, or take it out"
        )


class _Canvas:
    """A workflow as the front end saves it."""

    def __init__(self, workflow: dict[str, Any], info: Info) -> None:
        self.info = info
        self.nodes = {str(node["id"]): node for node in workflow["nodes"]}
        self.links = dict(map(_link, workflow["links"]))
        subgraphs = {graph["id"] for graph in workflow.get("definitions", {}).get("subgraphs", ())}
        if subgraphs & {node["type"] for node in self.nodes.values()}:
            raise WorkflowError(f"this workflow has a subgraph, which this script does not read: {EXPORT}")

    def prompt(self) -> Prompt:
        sent = {name: node for name, node in self.nodes.items() if self._is_sent(node)}
        _check_known((node["type"] for node in sent.values()), self.info)
        return {name: {"class_type": node["type"], "inputs": self._inputs(node)} for name, node in sent.items()}

    def _is_sent(self, node: dict[str, Any]) -> bool:
        return node.get("mode", 0) not in (MUTED, BYPASSED) and node["type"] not in (*NOTES, REROUTE, PRIMITIVE)

    def _inputs(self, node: dict[str, Any]) -> dict[str, Any]:
        found = widget_values(node, self.info)
        for slot in node.get("inputs", ()):
            if slot.get("link") is None:
                continue
            source = self._source(slot["link"])
            if source is not None:
                found[slot["name"]] = source
            elif slot["name"] in found and "widget" not in slot:
                del found[slot["name"]]
        return found

    def _source(self, link: int) -> Any:
        """``[node id, output]`` behind reroutes and bypassed nodes, a primitive's value, or ``None`` if it is muted."""
        name, output, kind = self.links[link]
        node = self.nodes[name]
        if node["type"] == PRIMITIVE:
            return node["widgets_values"][0]
        if node.get("mode", 0) == MUTED:
            return None
        if node["type"] != REROUTE and node.get("mode", 0) != BYPASSED:
            return [name, output]
        slots = node.get("inputs", [])
        first = slots[output : output + 1] if node["type"] != REROUTE else []
        same = [slot for slot in (*first, *slots) if slot["type"] == kind or node["type"] == REROUTE]
        return self._source(same[0]["link"]) if same and same[0].get("link") is not None else None


def _link(link: Any) -> tuple[int, tuple[str, int, str]]:
    """id -> (node, output, type) of a saved link, which is a list, or an object in files of version 1."""
    if isinstance(link, dict):
        return link["id"], (str(link["origin_id"]), link["origin_slot"], link["type"])
    number, source, output, _target, _input, kind = link
    return number, (str(source), output, kind)


def widget_values(node: dict[str, Any], info: Info) -> dict[str, Any]:
    """name -> value of a saved node's widgets, which are saved in the order of its inputs."""
    saved, specs = node.get("widgets_values") or [], inputs_of(node["type"], info)
    if isinstance(saved, dict):
        return {name: saved[name] for name, spec in specs.items() if _is_widget(*spec) and name in saved}
    return dict(_named(list(saved), specs))


def _named(values: list[Any], specs: Specs, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Takes from the front of ``values`` what belongs to each widget."""
    for name, (kind, options) in specs.items():
        if not _is_widget(kind, options):
            continue
        if not values:  # saved before the node had this input
            if "default" in options:
                yield prefix + name, options["default"]
            continue
        value = values.pop(0)
        yield prefix + name, value
        if (name in SEEDS or options.get("control_after_generate")) and values and values[0] in CONTROLS:
            values.pop(0)
        if kind == DYNAMIC:  # each choice has widgets of its own
            chosen = next(option["inputs"] for option in options["options"] if option["key"] == value)
            yield from _named(values, _specs(chosen), f"{prefix}{name}.")


def _is_widget(kind: Any, options: dict[str, Any]) -> bool:
    # A node that takes several types says which of them its widget edits.
    return (isinstance(kind, list) or options.get("widgetType", kind) in WIDGETS) and not options.get("forceInput")
