"""The node that records a full run for the calibrated methods: declaration only."""

from __future__ import annotations

from comfy_api.latest import io

from ..dicache_core import display_name
from ..model_patchers import SAMPLERS, SCHEDULERS, Sampling, calibrate, check_calibration_name
from . import rendering
from .shared import CATEGORY, checkable


class DiCacheCalibrate(io.ComfyNode):
    """Records the curve that the calibrated methods decide by."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheCalibrate",
            display_name="DiCache Calibrate",
            category=CATEGORY,
            description=(
                "Samples once in full and records how the model's work changes from step to step. The result is "
                "saved under a name in the user directory. The policies magcache, smoothcache, procache, meancache and "
                "block_mask need it."
            ),
            search_aliases=["smoothcache", "procache", "meancache", "calibration"],
            inputs=[
                io.Model.Input("model", tooltip="The model to calibrate for. A DiCache Apply before it is ignored."),
                io.Conditioning.Input("positive", tooltip="A typical prompt. What it shows matters little."),
                io.Conditioning.Input("negative", tooltip="What the image should not show."),
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
                    "name", default="calibration", tooltip="The name to save it under: letters, digits, - and _."
                ),
            ],
            outputs=[
                io.Combo.Output(
                    "curve",
                    display_name="calibration",
                    tooltip="The saved name, for the calibration input of DiCache Policy.",
                )
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, name: str | None = None) -> bool | str:
        try:
            if checkable(name, str) is not None:
                check_calibration_name(name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, model: io.Model.Type, latent_image: dict, name: str, **sampler) -> io.NodeOutput:
        curve = calibrate(model, Sampling(latent=latent_image, **sampler), name)
        text = rendering.calibrate_text(curve, name)
        told = {"curve": name, "name": display_name(curve.architecture), "steps": len(curve.ratios)}
        return io.NodeOutput(name, ui={"text": [text], "dicache": [told]})
