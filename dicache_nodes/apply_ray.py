"""DiCache Apply for models that raylight holds in Ray actors: declaration only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dicache_core import DEFAULT_PRESET, PRESETS, Policy
from ..model_patchers import attach_to_actors, has_raylight
from .apply import DiCacheApply
from .shared import CATEGORY, Statistics, all_typed, presets_tooltip

RayActors = io.Custom("RAY_ACTORS")  # raylight's: {"workers": actors, ...}


class DiCacheApplyRay(io.ComfyNode):
    """Puts the cache around the sampling of every Ray actor."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheApplyRay",
            display_name="DiCache Apply (Ray)",
            category=CATEGORY,
            description=(
                "DiCache Apply for models that raylight has spread over several GPUs. Put it between raylight's model "
                "loader and its sampler. All ranks skip the same steps."
            ),
            search_aliases=["raylight", "ray", "multi gpu"],
            inputs=[
                RayActors.Input("ray_actors", tooltip="From raylight's model loader: the models to speed up."),
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),  # what was tuned is known by the model, which is in other processes
                    default=DEFAULT_PRESET,
                    optional=True,
                    tooltip=presets_tooltip(PRESETS),
                ),
                *DiCacheApply.define_schema().inputs[2:],
            ],
            outputs=[
                RayActors.Output("ray_actors", tooltip="The same actors, sampling through DiCache."),
                Statistics.Output(
                    "statistics",
                    tooltip="What the cache of rank 0 did in the last run. Connect it to DiCache Report.",
                ),
            ],
            # The models that it changes are in other processes, where no other node's result is.
            not_idempotent=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        threshold: float | None = -1.0,
        probe_depth: int | None = -1,
        start_percent: float | None = 0.0,
        end_percent: float | None = 1.0,
    ) -> bool | str:
        return DiCacheApply.validate_inputs(threshold, probe_depth, start_percent, end_percent)

    @classmethod
    def execute(
        cls,
        ray_actors: dict[str, Any],
        preset: str = DEFAULT_PRESET,
        residual_bits: str = "16",
        policy: Policy | None = None,
        **numbers: Any,
    ) -> io.NodeOutput:
        settings = {**all_typed(numbers), "residual_bits": int(residual_bits)}
        return io.NodeOutput(*attach_to_actors(ray_actors, preset, policy, **settings))


def ray_nodes() -> list[type[io.ComfyNode]]:
    """The node where raylight is, nothing elsewhere: without its socket type nothing could be connected."""
    return [DiCacheApplyRay] if has_raylight() else []
