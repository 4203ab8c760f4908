"""The nodes that choose another way of caching: declarations only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .dicache_core import (
    LARGEST_COUNT,
    LARGEST_THRESHOLD,
    POLICIES,
    CacheConfig,
    check_companions,
    check_threshold,
    chosen_policy,
)
from .model_patchers import (
    SAMPLERS,
    SCHEDULERS,
    Sampling,
    calibrate,
    check_curve_name,
    curve_fingerprint,
    load_curve,
)
from .nodes_shared import ALIASES, CATEGORY, NUMBER, PolicyType, checkable


class DiCachePolicy(io.ComfyNode):
    """Names another way of caching, for the policy input of DiCache Apply."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCachePolicy",
            display_name="DiCache Policy",
            category=CATEGORY,
            description=(
                "Chooses another method for when steps are skipped and how skipped steps are rebuilt, or a speed to "
                "meet. For experiments: the presets of DiCache Apply need no policy."
            ),
            search_aliases=[*ALIASES, "fbcache", "easycache", "magcache", "spectrum", "taylorseer", "target speed"],
            inputs=[
                io.Combo.Input(
                    "policy",
                    options=list(POLICIES),
                    default="dicache",
                    tooltip=(
                        "The method. dicache is the paper's, followed by this pack's own, by published methods that "
                        "decide on every step, by those that go by a curve of DiCache Calibrate, and by those that "
                        "compute every n-th step. This node's help page says what each does."
                    ),
                ),
                io.String.Input(
                    "target",
                    default="",
                    tooltip=(
                        "A speed to meet, such as 1.5x, 2x or 3x, or a number of steps to compute, such as 12; the "
                        "method then skips accordingly. Empty: the method's own threshold or interval decides."
                    ),
                ),
                io.Float.Input(
                    "threshold",
                    default=-1.0,
                    min=-1.0,
                    max=LARGEST_THRESHOLD,
                    step=0.001,
                    tooltip=(
                        "How large the method's own measure of error may grow on skipped steps. -1 is the method's "
                        "value for this model, 0 never skips. Methods that compute every n-th step have an interval."
                    ),
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=-1,
                    min=-1,
                    max=10000,
                    tooltip="Steps at the start that are never skipped. -1 is the method's own number.",
                ),
                io.String.Input(
                    "mask",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="For step_mask: 1 for a computed and 0 for a skipped step, such as 1,1,1,0,1,0,0,1.",
                ),
                io.String.Input(
                    "curve",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "For magcache, smoothcache, procache and meancache: the name under which DiCache Calibrate "
                        "saved this model's curve."
                    ),
                ),
                io.Int.Input(
                    "interval",
                    default=-1,
                    min=-1,
                    max=LARGEST_COUNT,
                    optional=True,
                    tooltip=(
                        "For the methods that compute every n-th step (taylorseer, foca, hyca, hicache, freqca, "
                        "tc_pade, cachequant, fastercache, spectrum, fixed_interval, deepcache, output_reuse, "
                        "output_line, corrected_line): n. 3 computes every third step; -1 is the method's own number "
                        "(2 to 6)."
                    ),
                ),
            ],
            outputs=[PolicyType.Output("policy", tooltip="Connect it to DiCache Apply.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        target: str | None = "",
        threshold: float | None = -1.0,
        mask: str | None = "",
        curve: str | None = "",
        interval: int | None = -1,
    ) -> bool | str:
        threshold, interval = checkable(threshold, NUMBER), checkable(interval, int)
        target, mask, curve = (checkable(text, str) for text in (target, mask, curve))
        try:
            if threshold is not None and threshold != -1:
                check_threshold(threshold)
            if interval is not None and interval != -1:
                CacheConfig(interval=interval)
            CacheConfig(target=target or "", mask=mask or "")
            if curve:
                check_curve_name(curve)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, curve: str | None = "", **_others: Any) -> str:
        """A curve that was calibrated again is another one, whatever its name."""
        return curve_fingerprint(curve) if checkable(curve, str) else ""

    @classmethod
    def execute(cls, policy: str, mask: str = "", curve: str = "", **numbers: Any) -> io.NodeOutput:
        check_companions(policy, mask, curve)
        loaded = load_curve(curve) if curve else None
        return io.NodeOutput(chosen_policy(policy, mask=mask, curve=loaded, **numbers))


class DiCacheCalibrate(io.ComfyNode):
    """Records the curve that the calibrated methods decide by."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheCalibrate",
            display_name="DiCache Calibrate",
            category=CATEGORY,
            description=(
                "Samples once in full, records how the model's work changes from step to step, and saves it under a "
                "name in the user directory. The policies magcache, smoothcache, procache and meancache decide by it."
            ),
            search_aliases=[*ALIASES, "magcache", "smoothcache", "procache", "meancache", "calibrate"],
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model to calibrate for. A DiCache Apply in front of it is ignored."
                ),
                io.Conditioning.Input("positive", tooltip="A typical prompt; what it shows matters little."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                io.Latent.Input("latent_image", tooltip="The latent to denoise."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The seed of the noise.",
                ),
                io.Int.Input("steps", default=30, min=4, max=1000, tooltip="Steps, as many as you will sample with."),
                io.Float.Input("cfg", default=1.0, min=0.0, max=100.0, step=0.1, round=0.01, tooltip="Guidance scale."),
                io.Combo.Input("sampler_name", options=SAMPLERS, default="euler", tooltip="The sampler."),
                io.Combo.Input("scheduler", options=SCHEDULERS, default="simple", tooltip="The noise schedule."),
                io.String.Input(
                    "name", default="curve", tooltip="The name to save it under: letters, digits, - and _."
                ),
            ],
            outputs=[io.String.Output("curve", tooltip="The name, for the curve input of DiCache Policy.")],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        try:
            if checkable(name, str) is not None:
                check_curve_name(name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, model: io.Model.Type, latent_image: dict, name: str, **sampler) -> io.NodeOutput:
        calibrate(model, Sampling(latent=latent_image, **sampler), name)
        return io.NodeOutput(name)
