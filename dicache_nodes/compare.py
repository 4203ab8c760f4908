"""The node that measures what the cache gives and costs: declaration only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from comfy_api.latest import io, ui

from ..dicache_core import MENU, run_json
from ..dicache_core.comparison import parse_settings, settings_of
from ..model_patchers import (
    Sampling,
    architecture_of,
    as_latent,
    check_pictures,
    compare,
    decode,
    is_video,
    load_tuned,
    nothing,
    override,
    picture_part,
)
from . import rendering
from .shared import CATEGORY, all_typed, checkable, custom_sampling_inputs, sampler_inputs


class DiCacheCompare(io.ComfyNode):
    """Samples without and with the cache, and measures the difference."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheCompare",
            display_name="DiCache Compare",
            category=CATEGORY,
            description=(
                "Samples the same image without DiCache and with each of your settings. Reports the seconds, the "
                "computed steps and how much the results differ. Use it in place of a sampler, without DiCache "
                "Apply."
            ),
            search_aliases=["compare", "benchmark", "psnr", "ssim"],
            inputs=[
                io.Model.Input("model", tooltip="The model to sample with. A DiCache Apply before it is ignored."),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="What the image should show. Not needed with a guider."
                ),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What the image should not show. Not needed with a guider."
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
                        f"What to compare, separated by commas. Presets: {', '.join(MENU)}. Speeds such as 2x. "
                        "Numbers of computed steps such as 12. Thresholds of the paper's method such as 0.2. "
                        "Policies such as fbcache. Each entry costs one more run."
                    ),
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="With a VAE the images are compared and shown. Without it the latents are compared.",
                ),
                *custom_sampling_inputs(),
            ],
            outputs=[
                io.Latent.Output(
                    "latents", tooltip="One batch of latents: without DiCache first, then each setting in order."
                ),
                io.Image.Output(
                    "pictures",
                    display_name="comparison sheet",
                    tooltip="All images side by side, with their differences below. Needs a VAE.",
                ),
                io.String.Output("report", tooltip="Seconds, steps, PSNR and SSIM of every run as JSON."),
                io.Image.Output(
                    "images",
                    tooltip=(
                        "The images alone as one batch, for viewers and sliders: without DiCache first, then each "
                        "setting in order. Needs a VAE."
                    ),
                ),
            ],
            hidden=[io.Hidden.unique_id],
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
        chosen = settings_of(settings, architecture_of(model), lambda: load_tuned(model))
        sampling = Sampling(latent=latent_image, positive=positive, negative=negative, **all_typed(sampler))
        rendering.check_measuring()
        if vae is not None:
            check_pictures(model, latent_image, vae)
        override(model, cls.hidden.unique_id)
        outcomes = compare([model, *([low_noise_model] if low_noise_model else [])], sampling, chosen)
        if vae is None:
            seen = [rendering.as_pictures(picture_part(o.samples)) for o in outcomes]
        else:
            seen = [decode(vae, o.samples) for o in outcomes]
        rows = rendering.compare_rows(outcomes, seen, sampling.total)
        runs = [[run_json(run, details=True) for run in outcome.runs] for outcome in outcomes]
        report = [{**asdict(row), "runs": run} for row, run in zip(rows, runs, strict=True)]
        sheet = rendering.compare_sheet(rows, seen if vae else None, is_video(latent_image))
        text = rendering.compare_text(rows, "images" if vae else "latents")
        shown = {**ui.PreviewImage(sheet, cls=cls).as_dict(), "text": [text], "dicache": report}
        missing = nothing("Connect a VAE to DiCache Compare to get images.")
        pictures, images = (sheet, rendering.one_batch(seen)) if vae else (missing, missing)
        return io.NodeOutput(as_latent(outcomes), pictures, rendering.as_json(report), images, ui=shown)
