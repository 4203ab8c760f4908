"""What golden files hold: runs by every policy and preset, in decisions and in numbers; node schemas; files; JSONs.

``make.py`` writes it, ``test_golden.py`` and ``test_golden_toy.py`` hold it, and ``same_bits.py`` compares two commits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FOLDER = Path(__file__).parent
STEPS = 12
MASK = "1,1,1,1,0,0,1,0,0,1,0,1"
BLOCKS = "double 1, single 0-1"  # there in both models
LOOSE = 5.0  # times a method's own threshold: small models move more from step to step than large ones,
LESS_LOOSE = 2.0  # but no more than this where each stage of the stack is compared with its own last step
DIGITS = 6  # of a number in a file
TOLERANCE = 1e-4  # of numbers, as machines differ in their last digits,
TRAINED = 2e-4  # and of a trained model's latents: another processor moved one by 1.3e-4
VALUES = 24  # of a latent
ARCHITECTURE = "flux"
CAPTION = "plain green | circle white large still"
TESTBED = dict(size=8, seed=7)
OWN = "forecast"
GUIDED = ("preset balanced", "preset published", "dicache", OWN, "fastercache")  # with a positive and a negative
NUMBERS = {
    "error": "error",
    "accumulated": "accumulated",
    "gamma": "gamma",
    "latent_error": "latent_error",
}  # of ``Decision``
HOSTS_OWN = ("sampler_name", "scheduler")  # widgets whose choices are ComfyUI's
TIMES = ("seconds", "speedup")  # how keys begin whose values differ from run to run


@dataclass(frozen=True)
class Run:
    """One run by name, its statistics and its latent."""

    name: str
    statistics: Any
    latent: Tensor

    @property
    def golden(self) -> dict[str, Any]:
        """What stays the same: decisions as they are, a few numbers of the latent."""
        return {
            "cells": self.statistics.cells,
            "streams": [_decisions(decisions) for decisions in self.statistics.by_sample().values()],
            "image_error": _number(self.statistics.image_error),
            "latent": [_number(v) for v in _spread(self.latent)],
        }

    @property
    def bits(self) -> dict[str, Any]:
        """The same to the last bit, for two runs on one machine."""
        rows = [[_values(decision) for _, decision in decisions] for decisions in self.statistics.by_sample().values()]
        numbers = [repr(self.statistics.image_error), self.statistics.held_bytes]
        content = self.latent.detach().contiguous().view(torch.uint8).numpy().tobytes()
        return {
            "cells": self.statistics.cells,
            "latent": hashlib.sha256(content).hexdigest(),
            "decisions": rows,
            "numbers": numbers,
        }


def configs(core: Any, calibration: Any, architecture: str) -> Iterator[tuple[str, Any]]:
    """Settings by name: every preset and a few typed numbers, and every policy, loose enough to skip something."""
    for preset in core.PRESETS:
        yield f"preset {preset}", core.resolve(architecture, preset)
    yield "preset fast, typed", core.resolve(architecture, "fast", warmup_steps=2, max_consecutive=1)
    yield "threshold 0.2, probe of 2", core.resolve(architecture, threshold=0.2, probe_depth=2)
    yield "dicache 2x", core.resolve(architecture, policy=replace(core.policies.POLICIES["dicache"], target="2x"))
    for name in core.policies.POLICIES:
        yield name, _loosened(core, name, calibration, architecture)


def _loosened(core: Any, name: str, calibration: Any, architecture: str) -> Any:
    policy = core.policies.POLICIES[name]
    if policy.limited_by == "mask":
        policy = replace(policy, mask=BLOCKS if policy.in_parts else MASK)
    else:
        policy = replace(policy, calibration=calibration)
    config = core.resolve(architecture, policy=policy)
    if not config.target and policy.limited_by == "threshold":
        config = replace(config, threshold=(LESS_LOOSE if policy.in_parts else LOOSE) * config.threshold)
    return replace(config, target=str(STEPS // 2)) if config.adaptive else config  # a count is taken at its word


def toy_runs() -> Iterator[Run]:
    """By the core alone."""
    from golden.toy_run import sample

    import dicache_core as core

    torch.set_num_threads(1)
    calibrating, latent = sample(core.calibration.recording_config(), STEPS)
    yield Run("calibration", calibrating, latent)
    calibration = replace(core.calibration.calibration_of(calibrating), architecture=ARCHITECTURE)
    for name, config in configs(core, calibration, ARCHITECTURE):
        yield Run(name, *sample(config, STEPS))
    packed = core.resolve(ARCHITECTURE, "published", threshold=1.0, residual_bits=8, cache_device="cpu")
    yield Run("8 bits in main memory", *sample(packed, STEPS))


def testbed_runs(comfy: Any) -> Iterator[Run]:
    """By a trained model in a real ComfyUI; presets in runs of 20 steps, which are enough for them."""
    core, runs = comfy.pack.dicache_core, []

    def sampled(name: str, config: Any) -> Run:
        model = comfy.pack.model_patchers.attach(comfy.load_model(ARCHITECTURE), config, runs=runs)
        steps, cfg = 20 if name.startswith("preset") else STEPS, 3.0 if name in GUIDED else 1.0
        with torch.inference_mode():
            latent = comfy.sample(model, CAPTION, architecture=ARCHITECTURE, steps=steps, cfg=cfg, **TESTBED)
        return Run(name, runs[-1], latent)

    torch.set_num_threads(1)
    calibrating = sampled("calibration", core.calibration.recording_config())
    yield calibrating
    for name, config in configs(core, core.calibration.calibration_of(calibrating.statistics), ARCHITECTURE):
        yield sampled(name, config)


def files(comfy: Any, calibrating: Run) -> dict[str, str]:
    """By name, the texts of what people keep: a calibration and a tuned model."""
    core = comfy.pack.dicache_core
    family = core.tuning.context.SamplerFamily
    plain, noisy = core.RunContext(family.DETERMINISTIC, 20), core.RunContext(family.STOCHASTIC, 8, True, 0.5, 1.0, 2)
    plan = core.call_plan.CallPlan((0.0, 0.25, 0.5, 1.0), 20)
    choices = [
        core.Choice(plain, "looks the same", OWN, "5x", 4.9, 36.5, 0.98, plan),
        core.Choice(noisy, "3x", "fbcache", "3x", 2.9, 31.0, 0.95),
    ]
    tuned = core.tuning.store.TunedModel(ARCHITECTURE, "0123456789abcdef", tuple(choices))
    return {
        "calibration.json": core.calibration.calibration_of(calibrating.statistics).to_json(),
        "tuned.json": tuned.to_json(),
    }


def schemas(comfy: Any) -> dict[str, Any]:
    """Per node its inputs and outputs, without texts, which locales/en holds."""
    _ = comfy.pack
    return {
        node_id: _schema(cls.GET_NODE_INFO_V1())
        for node_id, cls in sorted(comfy.nodes.NODE_CLASS_MAPPINGS.items())
        if node_id.startswith("DiCache") and not node_id.startswith("DiCacheTestbed")
    }


def _schema(info: dict[str, Any]) -> dict[str, Any]:
    def of(name: str, kind: Any, options: dict[str, Any]) -> list[Any]:
        kept = {key: value for key, value in options.items() if key != "tooltip"}
        if name in HOSTS_OWN:
            kept, kind = {"default": kept.get("default")}, kind if isinstance(kind, str) else "COMBO"
        return [kind, kept]

    inputs = {
        category: {name: of(name, *spec, *([{}] if len(spec) == 1 else [])) for name, spec in of_category.items()}
        for category, of_category in info["input"].items()
    }
    kept = ("output", "output_name", "display_name", "category", "output_node", "search_aliases")
    return {"input": inputs, **{key: list(v) if isinstance(v := info[key], tuple) else v for key in kept}}


def jsons(comfy: Any) -> dict[str, Any]:
    """``told`` as it stays the same from run to run."""
    return {name: steady(content) for name, content in told(comfy).items()}


def told(comfy: Any) -> dict[str, Any]:
    """What one run says of itself: its events, its report, and what is kept with a picture and in the history."""
    server, sent = comfy.module("server").PromptServer, []
    real, server.instance = server.instance, _Listener(sent)
    try:
        model, log = comfy.node("DiCacheApply", model=comfy.load_model(ARCHITECTURE), preset="balanced")
        config = replace(comfy.pack.dicache_core.resolve(ARCHITECTURE), target=str(STEPS // 2))
        model = comfy.pack.model_patchers.attach(model, config, node_id="2", runs=log)
        with torch.inference_mode():
            comfy.sample(model, CAPTION, architecture=ARCHITECTURE, steps=STEPS, cfg=3.0, **TESTBED)
    finally:
        server.instance = real
    (run,) = log.runs
    report = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheReport"].execute(after=None, statistics=log)
    prompt: dict[str, Any] = {"2": {"class_type": "DiCacheApply", "inputs": {}}}
    comfy.pack.model_patchers.server_events.notes.__class__().enter(run, "2", "3", [prompt])
    return {"event": sent[-1], "report": report.ui["dicache"], "metadata and history": prompt["2"]["_meta"]}


class _Listener:
    """A server with one client that listens."""

    client_id = "browser"
    sockets = ("browser",)

    def __init__(self, sent: list[Any]) -> None:
        self._sent = sent
        self.prompt_queue = self

    def get_current_queue_volatile(self) -> tuple[list, list]:
        return [], []

    def send_sync(self, _event: str, data: Any, _client: str) -> None:
        self._sent.append(data)


def steady(content: Any, key: str = "") -> Any:
    """``content`` with rounded numbers, and without those that a clock gave."""
    if key.startswith(TIMES) and content is not None:
        return "measured"
    if isinstance(content, dict):
        return {name: steady(value, name) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [steady(value, key) for value in content]
    return _number(content) if isinstance(content, float) else content


def differences(golden: Any, found: Any, tolerance: float, where: str = "") -> list[str]:
    """Where two contents differ; floats by more than ``tolerance``, relative to the larger of them and 1."""
    if isinstance(golden, dict) and isinstance(found, dict):
        ends = [f"{where}: {name!r} is {'gone' if name in golden else 'new'}" for name in golden.keys() ^ found.keys()]
        both = [name for name in golden if name in found]
        return [*ends, *(d for n in both for d in differences(golden[n], found[n], tolerance, f"{where}/{n}"))]
    if isinstance(golden, list) and isinstance(found, list):
        if len(golden) != len(found):
            return [f"{where}: {len(golden)} became {len(found)}"]
        pairs = enumerate(zip(golden, found, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, tolerance, f"{where}/{i}")]
    if isinstance(golden, float) and isinstance(found, (int, float)) and not isinstance(found, bool):
        near = math.isclose(golden, found, rel_tol=tolerance, abs_tol=tolerance)
        return [] if near else [f"{where}: {golden} became {found}"]
    return [] if golden == found and type(golden) is type(found) else [f"{where}: {golden!r} became {found!r}"]


def _decisions(decisions: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Of one sample: why, at every call, and the numbers that there were."""
    numbers = {
        name: [_number(getattr(decision, attribute)) for _, decision in decisions]
        for name, attribute in NUMBERS.items()
    }
    kept = {name: values for name, values in numbers.items() if any(value is not None for value in values)}
    return {"reasons": [_text(decision.reason) for _, decision in decisions], **kept}


def _values(decision: Any) -> list[str]:
    """A decision to the last bit, whatever its parts are called."""
    named = {field.name: getattr(decision, field.name) for field in fields(decision)}
    named.pop("measured")  # a note for calibrating runs
    share = named.pop("share", None)  # of a stack that is decided in parts
    values = [*named.values(), *([] if share is None else [share])]
    return [repr(_text(value) if isinstance(value, str) else value) for value in values]


def _text(reason: str) -> str:
    return str(getattr(reason, "value", reason))


def _spread(latent: Tensor) -> list[float]:
    """Evenly spread values, and the rms of all."""
    flat = latent.detach().flatten().double()
    return [*flat[:: max(1, len(flat) // VALUES)].tolist()[:VALUES], flat.square().mean().sqrt().item()]


def _number(value: float | None) -> float | str | None:
    if value is None:
        return None
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
