"""The node that measures what the cache gives and costs: declaration only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from comfy_api.latest import io, ui

from . import reporting
from .dicache_core import parse_settings, settings_of
from .model_patchers import (
    Sampling,
    architecture_of,
    as_latent,
    compare,
    decode,
    is_video,
    nothing,
    picture_part,
    recalled,
)
from .nodes_shared import ALIASES, CATEGORY, checkable, custom_sampling_inputs, sampler_inputs


class DiCacheCompare(io.ComfyNode):
    """Samples without and with the cache, and measures the difference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheCompare",
            display_name="DiCache Compare",
            category=CATEGORY,
            description=(
                "Samples the same picture without DiCache and with each of your settings, and reports the seconds, the "
                "computed steps and how much the results differ. Use it instead of a sampler, without DiCache Apply."
            ),
            search_aliases=[*ALIASES, "compare", "benchmark", "psnr", "ssim"],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with. A DiCache Apply in front of it is ignored."),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="What the picture should show. Not needed with a guider."
                ),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What it should not show. Not needed with a guider."
                ),
                io.Latent.Input("latent_image", tooltip="The latent to denoise."),
                *sampler_inputs(
                    seed="The seed of the noise that every run starts from.",
                    steps="Steps of every run.",
                    sampler="The sampler of every run.",
                ),
                io.String.Input(
                    "settings",
                    default="published, balanced",
                    tooltip=(
                        "What to compare, with commas in between: presets (fidelity, balanced, fast, published, "
                        "tuned), speeds such as 2x, numbers of computed steps such as 12, thresholds of the paper's "
                        "method such as 0.2, and policies such as fbcache. Each costs one run."
                    ),
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="With a VAE the pictures are compared and shown, not the latents.",
                ),
                *custom_sampling_inputs(),
            ],
            outputs=[
                io.Latent.Output("latents", tooltip="One batch: without DiCache first, then each setting in order."),
                io.Image.Output("pictures", tooltip="One sheet: side by side, differences below. Needs a VAE."),
                io.String.Output("report", tooltip="Seconds, steps, PSNR and SSIM of every run as JSON."),
                io.Image.Output(
                    "images",
                    tooltip="The pictures alone as one batch, for viewers and sliders: without DiCache first, then "
                    "each setting in order. Needs a VAE.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, settings: str | None = None) -> bool | str:
        try:
            if checkable(settings, str) is not None:
                parse_settings(settings)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        latent_image: dict,
        settings: str,
        vae: io.Vae.Type | None = None,
        low_noise_model: io.Model.Type | None = None,
        positive: Any = None,
        negative: Any = None,
        **sampler: Any,
    ) -> io.NodeOutput:
        chosen = settings_of(settings, architecture_of(model), lambda: recalled(model))
        sampling = Sampling(latent=latent_image, positive=positive, negative=negative, **sampler)
        outcomes = compare([model, *([low_noise_model] if low_noise_model else [])], sampling, chosen)
        if vae is None:
            seen = [reporting.as_pictures(picture_part(o.samples)) for o in outcomes]
        else:
            seen = [decode(vae, o.samples) for o in outcomes]
        rows = reporting.compare_rows(outcomes, seen, sampling.total)
        runs = [[run.summary() for run in outcome.runs] for outcome in outcomes]
        report = [{**asdict(row), "runs": run} for row, run in zip(rows, runs, strict=True)]
        sheet = reporting.compare_sheet(rows, seen if vae else None, is_video(latent_image))
        text = reporting.compare_text(rows, "pictures" if vae else "latents")
        shown = {**ui.PreviewImage(sheet, cls=cls).as_dict(), "text": [text], "dicache": report}
        missing = nothing("Connect a VAE to DiCache Compare to get pictures.")
        pictures, images = (sheet, reporting.one_batch(seen)) if vae else (missing, missing)
        return io.NodeOutput(as_latent(outcomes), pictures, reporting.as_json(report), images, ui=shown)
