"""The node that measures what the cache gives and costs: declaration only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from comfy_api.latest import io, ui

from . import reporting
from .dicache_core import parse_settings, settings_of
from .model_patchers import (
    SAMPLERS,
    SCHEDULERS,
    Sampling,
    architecture_of,
    as_latent,
    compare,
    decode,
    nothing,
    show_text,
)
from .nodes_shared import ALIASES, CATEGORY, checkable


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
                io.Conditioning.Input("positive", tooltip="What the picture should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                io.Latent.Input("latent_image", tooltip="The latent to denoise."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The seed of the noise that every run starts from.",
                ),
                io.Int.Input("steps", default=30, min=1, max=10000, tooltip="Steps of every run."),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Guidance scale of the sampler. 1 for models with built-in guidance, such as Flux dev.",
                ),
                io.Combo.Input("sampler_name", options=SAMPLERS, default="euler", tooltip="The sampler of every run."),
                io.Combo.Input(
                    "scheduler", options=SCHEDULERS, default="simple", tooltip="How noise falls from step to step."
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip="1 makes a new picture; less keeps more of the one in latent_image.",
                ),
                io.String.Input(
                    "settings",
                    default="published, balanced",
                    tooltip=(
                        "What to compare, with commas in between: presets (fidelity, balanced, fast, published), "
                        "speeds such as 2x, numbers of computed steps such as 12, thresholds of the paper's method "
                        "such as 0.2, and policies such as fbcache. Each costs one run."
                    ),
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="With a VAE the pictures are compared and shown, not the latents.",
                ),
            ],
            outputs=[
                io.Latent.Output("latents", tooltip="One batch: without DiCache first, then each setting in order."),
                io.Image.Output("pictures", tooltip="Side by side, differences below. Needs a VAE."),
                io.String.Output("report", tooltip="Seconds, steps, PSNR and SSIM of every run as JSON."),
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
        cls, model: io.Model.Type, latent_image: dict, settings: str, vae: io.Vae.Type | None = None, **sampler: Any
    ) -> io.NodeOutput:
        chosen = settings_of(settings, architecture_of(model))
        outcomes = compare(model, Sampling(latent=latent_image, **sampler), chosen)
        latents = as_latent(outcomes)
        if vae is None:
            seen = [reporting.as_pictures(o.samples) for o in outcomes]
        else:
            seen = [decode(vae, o.samples) for o in outcomes]
        rows = reporting.compare_rows(outcomes, seen, sampler["steps"])
        text = reporting.compare_text(rows, "pictures" if vae else "latents")
        runs = [o.statistics.summary() if o.statistics else None for o in outcomes]
        report = reporting.as_json([{**asdict(row), "run": run} for row, run in zip(rows, runs, strict=True)])
        show_text(cls.hidden.unique_id, text)
        shown = ui.PreviewText(text).as_dict()
        if vae is None:
            return io.NodeOutput(
                latents, nothing("Connect a VAE to DiCache Compare to get pictures."), report, ui=shown
            )
        sheet = reporting.compare_sheet(rows, seen)
        return io.NodeOutput(latents, sheet, report, ui={**ui.PreviewImage(sheet, cls=cls).as_dict(), **shown})
