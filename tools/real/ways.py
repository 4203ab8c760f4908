"""The ways in which a prompt is sampled, each a prompt of its own made from the user's workflow."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from api_prompt import SEEDS, Info, Prompt, WorkflowError, inputs_of

APPLY, POLICY, PREVIEW = "DiCacheApply", "DiCachePolicy", "PreviewImage"
WITHOUT, BALANCED, EASYCACHE, PAPER, FEWER = "without", "balanced", "easycache", "paper", "fewer"
PRESETS = ("fidelity", BALANCED, "fast", "published")
WAYS = (WITHOUT, *PRESETS, EASYCACHE, PAPER, FEWER)  # in the order in which they are sampled: the last three follow one
COUNTED = {EASYCACHE: "easycache", PAPER: "dicache"}  # ways -> policies told to compute as many calls as ``balanced``
TITLES = {
    WITHOUT: "without",
    **{preset: preset for preset in PRESETS},
    EASYCACHE: "EasyCache's rule",
    PAPER: "paper's rule",
    FEWER: "fewer steps",
}
SHOWN = "shown"  # id of the node that hands over the images
COUNTS = ("steps", "start_at_step", "end_at_step")  # inputs that fewer steps change
WHOLE_SCHEDULE = 10000  # an end_at_step that means the last one
COMPARE = "DiCacheCompare"  # samples by itself, with settings of its own
GUIDANCE = ("positive", "conditioning", "cond1", "cond2")  # inputs of samplers and guiders that a prompt reaches first


@dataclass(frozen=True)
class Bench:
    """A user's workflow, ready to be sampled in every way.

    Attributes:
        prompt: from the loaders to a preview of the images, with DiCache Apply in it.
        applies: ids of its DiCache Apply nodes.
        samplers: ids of the nodes that run the model.
        texts: (node, input) of the positive prompt; empty where the user's own prompt stays.
    """

    prompt: Prompt
    applies: tuple[str, ...]
    samplers: frozenset[str]
    texts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, prompt: Prompt, info: Info) -> Bench:
        """Raises ``WorkflowError`` where the workflow has nothing to compare."""
        prompt = _pruned(_with_typed_steps(_to_images(prompt, info)))
        applies = tuple(name for name, node in prompt.items() if node["class_type"] == APPLY)
        samplers = frozenset(name for name in prompt if _is_sampler(prompt[name], info))
        if any(node["class_type"] == COMPARE for node in prompt.values()):
            raise WorkflowError("the images of this workflow come from DiCache Compare: put a sampler in its place")
        if not any(name in node["inputs"] for node in prompt.values() for name in SEEDS):
            raise WorkflowError("no node of this workflow has a seed, so all its images would be one")
        keeps_its_prompt = any(_takes_picture(node, info) for node in prompt.values())
        texts = () if keeps_its_prompt else tuple(_positive_texts(prompt, samplers, info))
        return cls(prompt, applies, samplers, texts)

    def seeded(self, seed: int, text: str) -> Bench:
        """The same with another noise and, where the prompt is not the user's own, another prompt."""
        prompt = copy.deepcopy(self.prompt)
        for node in prompt.values():
            node["inputs"] |= dict.fromkeys(set(SEEDS) & set(node["inputs"]), seed)
        for name, key in self.texts:
            prompt[name]["inputs"][key] = text
        return Bench(prompt, self.applies, self.samplers, self.texts)

    @property
    def has_steps(self) -> bool:
        """Whether a node says how many steps there are."""
        return any("steps" in node["inputs"] for node in self.prompt.values())

    def way(self, name: str, computed: dict[str, int], evaluations: int) -> Prompt:
        """The prompt of a way; ``computed`` calls of ``balanced`` by each Apply, of ``evaluations`` in all."""
        if name == WITHOUT:
            return without_cache(self.prompt, self.applies)
        if name == FEWER:
            return fewer_steps(without_cache(self.prompt, self.applies), sum(computed.values()) / evaluations)
        prompt = copy.deepcopy(self.prompt)
        for apply in self.applies:
            kept = {"model": prompt[apply]["inputs"]["model"]}
            if name in COUNTED:
                prompt[f"{apply} policy"] = _policy(COUNTED[name], computed[apply])
                prompt[apply]["inputs"] = {**kept, "policy": [f"{apply} policy", 0]}
            else:
                prompt[apply]["inputs"] = {**kept, "preset": name}
        return _pruned(prompt)

    def short(self) -> Prompt:
        """A tenth of the steps without a cache: loads the models and encodes the text before anything is timed."""
        return fewer_steps(without_cache(self.prompt, self.applies), 0.1, least=2)

    def values(self, *names: str) -> list[Any]:
        """What the nodes have for these inputs, each value once."""
        found = [node["inputs"][name] for node in self.prompt.values() for name in names if name in node["inputs"]]
        return list(dict.fromkeys(value for value in found if not isinstance(value, list)))


def _policy(name: str, computed: int) -> dict[str, Any]:
    inputs = {"policy": name, "target": str(computed), "threshold": -1.0, "warmup_steps": -1}
    return {"class_type": POLICY, "inputs": inputs}


def links_of(node: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """input -> (node, output) of what is connected."""
    return {key: (value[0], value[1]) for key, value in node["inputs"].items() if _is_link(value)}


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def leading_to(prompt: Prompt, names: Iterable[str]) -> set[str]:
    """These nodes and all before them."""
    found: set[str] = set()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += [source for source, _ in links_of(prompt[name]).values()]
    return found


def _pruned(prompt: Prompt) -> Prompt:
    """What leads to the images."""
    kept = leading_to(prompt, [name for name in prompt if name.startswith(SHOWN)])
    return {name: node for name, node in prompt.items() if name in kept}


def _to_images(prompt: Prompt, info: Info) -> Prompt:
    """Previews in place of what saves: they are lossless, frames of a video too, and in no folder that people keep."""
    applies = [name for name, node in prompt.items() if node["class_type"] == APPLY]
    if not applies:
        raise WorkflowError("no DiCache Apply in this workflow: put one between the model loader and the sampler")
    decoders = {
        name: slot
        for name, node in prompt.items()
        for slot in [_image_of_latent(node, info)]
        if slot is not None and leading_to(prompt, [name]) & set(applies)
    }
    earlier = set().union(*(leading_to(prompt, [name]) - {name} for name in decoders))
    shown = {f"{SHOWN} {name}": slot for name, slot in decoders.items() if name not in earlier}
    if not shown:
        raise WorkflowError("no node makes an image from what is sampled with DiCache Apply: connect a VAE Decode")
    images = {key: [key.removeprefix(f"{SHOWN} "), slot] for key, slot in shown.items()}
    previews = {key: {"class_type": PREVIEW, "inputs": {"images": link}} for key, link in images.items()}
    return _pruned({**prompt, **previews})


def _image_of_latent(node: dict[str, Any], info: Info) -> int | None:
    """The output in which a decoder gives its images; ``None`` of other nodes."""
    outputs, specs = info[node["class_type"]]["output"], inputs_of(node["class_type"], info)
    takes = {specs[key][0] for key in links_of(node) if key in specs}
    return list(outputs).index("IMAGE") if "LATENT" in takes and "IMAGE" in outputs else None


def _is_sampler(node: dict[str, Any], info: Info) -> bool:
    specs = inputs_of(node["class_type"], info)
    takes = {specs[key][0] for key in links_of(node) if key in specs}
    return "LATENT" in info[node["class_type"]]["output"] and bool(takes & {"MODEL", "GUIDER"})


def _takes_picture(node: dict[str, Any], info: Info) -> bool:
    return any(options.get("image_upload") for _, options in inputs_of(node["class_type"], info).values())


def _with_typed_steps(prompt: Prompt) -> Prompt:
    """Steps that come from a node with nothing but a number, typed where they are used."""
    prompt = copy.deepcopy(prompt)
    for name, node in prompt.items():
        for key in set(COUNTS) & set(links_of(node)):
            source = prompt[node["inputs"][key][0]]
            if not isinstance(source["inputs"].get("value"), int):
                raise WorkflowError(
                    f"{key} of {node['class_type']} ({name}) comes from {source['class_type']}: type the number there"
                )
            node["inputs"][key] = source["inputs"]["value"]
    return prompt


def _positive_texts(prompt: Prompt, samplers: Iterable[str], info: Info) -> Iterator[tuple[str, str]]:
    """(node, input) of each text that the positive prompt is encoded from; nothing where one comes from elsewhere."""
    first = [
        link
        for name in leading_to(prompt, samplers)
        if name in samplers or "GUIDER" in info[prompt[name]["class_type"]]["output"]
        for key, link in links_of(prompt[name]).items()
        if key in GUIDANCE
    ]
    found = dict.fromkeys(text for link in first for text in _texts_behind(prompt, link, info))
    if not any(_is_link(prompt[name]["inputs"][key]) for name, key in found):
        yield from found


def _texts_behind(prompt: Prompt, link: tuple[str, int], info: Info) -> Iterator[tuple[str, str]]:
    """Through nodes that change a conditioning up to those that encode one."""
    name, output = link
    node = prompt[name]
    kind, specs = info[node["class_type"]], inputs_of(node["class_type"], info)
    conds = {key: source for key, source in links_of(node).items() if specs.get(key, ("",))[0] == "CONDITIONING"}
    texts = [key for key, (type_, _) in specs.items() if type_ == "STRING" and key in node["inputs"]]
    if not conds:
        yield from ((name, key) for key in texts)
        return
    same_name = kind["output_name"][output]  # "positive" of a node that hands on both
    for source in [conds[same_name]] if same_name in conds else conds.values():
        yield from _texts_behind(prompt, source, info)


def without_cache(prompt: Prompt, applies: Iterable[str]) -> Prompt:
    """DiCache Apply taken out: who had its model gets the one that it had."""
    prompt = copy.deepcopy(prompt)
    for apply in applies:
        model = prompt.pop(apply)["inputs"]["model"]
        for node in prompt.values():
            node["inputs"] |= {key: model for key, link in links_of(node).items() if link == (apply, 0)}
    return _pruned(prompt)


def fewer_steps(prompt: Prompt, share: float, least: int = 1) -> Prompt:
    """The same schedule in fewer steps; samplers that share a schedule change over at the same part of it."""
    prompt = copy.deepcopy(prompt)
    for node in prompt.values():
        inputs = node["inputs"]
        if "steps" not in inputs:
            continue
        steps = max(least, round(inputs["steps"] * share))
        for key in {"start_at_step", "end_at_step"} & set(inputs):
            if inputs[key] < WHOLE_SCHEDULE:
                inputs[key] = round(inputs[key] * steps / inputs["steps"])
        inputs["steps"] = steps
    return prompt
