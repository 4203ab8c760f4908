"""What the pack's nodes have in common: where they are found, and the types of their own sockets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from comfy_api.latest import io

from ..dicache_core import MENU
from ..model_patchers import SAMPLERS, SCHEDULERS

CATEGORY = "model/acceleration"
# What somebody types who does not know this pack: of DiCache Apply alone, so that it is found first.
ALIASES = ["dicache", "cache", "step cache", "speed up", "accelerate", "faster", "teacache", "magcache", "easycache"]

Statistics = io.Custom("DICACHE_STATS")  # a dicache_core.RunLog
PolicyType = io.Custom("DICACHE_POLICY")  # a dicache_core.Policy

NUMBER = (int, float)
T = TypeVar("T")


def checkable(value: T, kind: type | tuple[type, ...]) -> T | None:
    """A widget's value for ``validate_inputs``; ``None`` where there is nothing to check.

    The host hands over ``None`` for what another node will make, and as it is what it could not convert: that it has
    refused by then with a message of its own, and what the check would say of it hides that.
    """
    return value if isinstance(value, kind) else None


def typed(value: T) -> T | None:
    """A number's widget; ``None`` where it is -1, which stands for "automatic" on the nodes and nowhere else."""
    return None if isinstance(value, NUMBER) and value == -1 else value


def all_typed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The widgets with ``None`` for -1."""
    return {name: typed(value) for name, value in numbers.items()}


def presets_tooltip(names: Iterable[str]) -> str:
    """What these presets skip."""
    return "How much is skipped. " + " ".join(f"{name}: {MENU[name].skips}." for name in names).replace("*", "")


def sampler_inputs(seed: str, steps: str, sampler: str) -> list[io.Input]:
    """What the host's KSampler asks for after its latent, with these tooltips where they differ."""
    return [
        io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True, tooltip=seed),
        io.Int.Input("steps", default=30, min=1, max=10000, tooltip=steps),
        io.Float.Input(
            "cfg",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="Guidance scale of the sampler. Use 1 for models with built-in guidance, such as Flux dev.",
        ),
        io.Combo.Input("sampler_name", options=SAMPLERS, default="euler", tooltip=sampler),
        io.Combo.Input("scheduler", options=SCHEDULERS, default="simple", tooltip="The noise schedule."),
        io.Float.Input(
            "denoise",
            default=1.0,
            min=0.01,
            max=1.0,
            step=0.01,
            tooltip="1 makes a new image. Less keeps more of the image in latent_image.",
        ),
    ]


def custom_sampling_inputs() -> list[io.Input]:
    """What takes the place of ``sampler_inputs``, and the second of two experts."""
    return [
        io.Guider.Input(
            "guider",
            optional=True,
            tooltip="Custom sampling: replaces positive, negative and cfg. It samples the model above.",
        ),
        io.Sampler.Input("sampler", optional=True, tooltip="Custom sampling: replaces sampler_name."),
        io.Sigmas.Input("sigmas", optional=True, tooltip="Custom sampling: replaces steps, scheduler and denoise."),
        io.Model.Input(
            "low_noise_model",
            optional=True,
            tooltip="The second of two experts (Wan 2.2). It takes over from the model above at the step switch_at.",
        ),
        io.Int.Input(
            "switch_at",
            default=-1,
            min=-1,
            max=10000,
            optional=True,
            advanced=True,
            tooltip="The step at which low_noise_model takes over. -1 is half of the steps.",
        ),
    ]
