"""The node that puts the cache around a model: declaration only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dicache_core import (
    DEFAULT_PRESET,
    LARGEST_COUNT,
    LARGEST_THRESHOLD,
    MENU,
    PRESETS,
    CacheConfig,
    Policy,
    RunLog,
    check_threshold,
    resolve,
)
from ..dicache_core.config import CACHE_DEVICES, RESIDUAL_BITS
from ..dicache_core.presets import needs_tuned
from ..model_patchers import architecture_of, attach, load_tuned, note_again, tuned_digest
from .shared import ALIASES, CATEGORY, NUMBER, PolicyType, Statistics, all_typed, checkable, presets_tooltip, typed


class DiCacheApply(io.ComfyNode):
    """Puts the cache around a model's sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheApply",
            display_name="DiCache Apply",
            category=CATEGORY,
            description=(
                "Samples faster by skipping most of the model's work on steps whose result can be predicted from "
                "earlier steps. Put it between the model loader (after LoRAs) and the sampler."
            ),
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up."),
                io.Combo.Input(
                    "preset",
                    options=list(MENU),
                    default=DEFAULT_PRESET,
                    optional=True,
                    tooltip=presets_tooltip(MENU),
                ),
                io.Float.Input(
                    "threshold",
                    display_name="threshold (paper)",
                    default=-1.0,
                    min=-1.0,
                    max=LARGEST_THRESHOLD,
                    step=0.001,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "For the paper's method: how much estimated change may accumulate before a step is "
                        "computed (Flux 0.4, HunyuanVideo 0.1, Wan 0.08). A number here overrides the preset and "
                        "uses the paper's method. Higher skips more and costs quality. 0 never skips. -1 leaves "
                        "it to the preset."
                    ),
                ),
                io.Int.Input(
                    "probe_depth",
                    display_name="probe depth (paper)",
                    default=-1,
                    min=-1,
                    max=LARGEST_COUNT,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "For the paper's method: how many blocks run on every step to measure the change "
                        "(published: 1). A number here overrides the preset and uses the paper's method. More "
                        "blocks judge better and make skipped steps slower. -1 leaves it to the preset."
                    ),
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=-1,
                    min=-1,
                    max=10000,
                    optional=True,
                    tooltip=(
                        "Steps at the start that are never skipped, because they decide the composition. -1 uses "
                        "the method's number (published: 20% of the steps; the other presets: 1, or 2 to 3 in runs of "
                        "4 to 8 steps). Fewer is faster but may change the composition."
                    ),
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Steps before this point of the schedule are never skipped. 0 is the start, 1 is the end."
                    ),
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Steps after this point of the schedule are never skipped. Lower it to protect fine details."
                    ),
                ),
                io.Int.Input(
                    "max_consecutive",
                    default=-1,
                    min=-1,
                    max=10000,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "The most steps that may be skipped in a row. 0 is no limit. -1 uses the method's number "
                        "(no limit with any preset)."
                    ),
                ),
                io.Combo.Input(
                    "cache_device",
                    options=list(CACHE_DEVICES),
                    default="auto",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Where the cache is kept. gpu: in VRAM, fastest. cpu: in main memory, when VRAM is short. "
                        "auto: chosen for you."
                    ),
                ),
                io.Combo.Input(
                    "residual_bits",
                    display_name="cache precision",
                    options=[str(bits) for bits in RESIDUAL_BITS],
                    default="16",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "16 keeps the cache in the model's precision. 8 halves its memory and changes the image "
                        "slightly. The presets fidelity, balanced and fast hold very little, so it makes no "
                        "difference there."
                    ),
                ),
                PolicyType.Input(
                    "policy",
                    optional=True,
                    tooltip=(
                        "From DiCache Policy: a method that replaces the preset's. Values set on this node "
                        "override the policy. A value that the policy does not use raises an error."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The model, sampling through DiCache."),
                Statistics.Output(
                    "statistics", tooltip="What this node's cache did in the last run. Connect it to DiCache Report."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            # The model it returns knows the node it reports to, so a node elsewhere with the same inputs needs its own.
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
        """The host checks the other widgets alone."""
        threshold, probe_depth = typed(checkable(threshold, NUMBER)), typed(checkable(probe_depth, int))
        start_percent, end_percent = (checkable(v, NUMBER) for v in (start_percent, end_percent))
        try:
            if threshold is not None:
                check_threshold(threshold)
            if probe_depth is not None:
                CacheConfig(probe_depth=probe_depth)
            if start_percent is not None and end_percent is not None:
                CacheConfig(start_percent=start_percent, end_percent=end_percent)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, preset: str | None = DEFAULT_PRESET, **_others: Any) -> str:
        """What is remembered can change, and with it what the preset tuned means.

        The host asks this at the beginning of every prompt, and nothing else of a node whose output it has kept.
        """
        note_again()
        return "" if preset in PRESETS else tuned_digest()

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        preset: str = DEFAULT_PRESET,
        residual_bits: str = "16",
        policy: Policy | None = None,
        **numbers: Any,
    ) -> io.NodeOutput:
        settings = {**all_typed(numbers), "residual_bits": int(residual_bits)}
        if needs_tuned(preset, policy, **settings):
            config = load_tuned(model, **settings)
        else:
            config = resolve(architecture_of(model), preset, policy, **settings)
        log = RunLog()
        return io.NodeOutput(attach(model, config, node_id=cls.hidden.unique_id, runs=log), log)
