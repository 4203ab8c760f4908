"""The node that finds the setting for a model: declaration only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from . import reporting
from .dicache_core import QUALITIES, Keep, Reach, Wish
from .model_patchers import (
    as_samplings,
    decode,
    forget,
    forget_all,
    is_video,
    listing,
    memory_state,
    nothing,
    picture_part,
    tell,
    tune,
)
from .nodes_shared import (
    ALIASES,
    CATEGORY,
    NUMBER,
    PolicyType,
    checkable,
    custom_sampling_inputs,
    sampler_inputs,
)

SPEED = "reach the speed"
TUNE, LIST, FORGET, FORGET_ALL = "tune", "list what is remembered", "forget this model", "forget everything"


class DiCacheTune(io.ComfyNode):
    """Finds the fastest setting that keeps a quality, on the user's own model, and remembers it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTune",
            display_name="DiCache Tune",
            category=CATEGORY,
            description=(
                "Finds the fastest setting that still looks as you want it, by sampling your prompts in full and with "
                "several settings, and remembers it for this model. DiCache Apply then uses it with the preset tuned."
            ),
            search_aliases=[*ALIASES, "tune", "find the threshold", "best setting", "optimize"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to tune for, with the LoRAs you use. A DiCache Apply before it is ignored.",
                ),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="A prompt as you usually write them. Not needed with a guider."
                ),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What it should not show. Not needed with a guider."
                ),
                io.Latent.Input(
                    "latent_image", tooltip="The latent to denoise. Every sample of a batch counts as a picture."
                ),
                *sampler_inputs(
                    seed="The first seed. Each prompt is sampled from two seeds; the ones after this follow.",
                    steps="Steps, as many as you will sample with.",
                    sampler="The sampler you will use.",
                ),
                io.Combo.Input(
                    "want",
                    options=[*QUALITIES, SPEED],
                    default=next(iter(QUALITIES)),
                    tooltip=(
                        "What the pictures have to be like, against those without DiCache: looks the same (PSNR 35 dB "
                        "and SSIM 0.97), very close (30 dB, 0.93) or close (25 dB, 0.85); the fastest setting that "
                        "keeps it is found. Or reach the speed: the closest setting that is fast enough."
                    ),
                ),
                io.Float.Input(
                    "speed",
                    default=2.0,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    round=0.01,
                    tooltip="For reach the speed: how many times as fast as without DiCache.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="With a VAE the pictures are measured and shown, without it the latents are measured.",
                ),
                *[
                    io.Conditioning.Input(
                        f"positive_{number}",
                        optional=True,
                        tooltip="One more prompt. Two or three that differ make the choice safer; each costs its time.",
                    )
                    for number in (2, 3, 4)
                ],
                *custom_sampling_inputs(),
                io.Combo.Input(
                    "action",
                    options=[TUNE, LIST, FORGET, FORGET_ALL],
                    default=TUNE,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "tune measures and remembers. The others sample nothing: list what is remembered, forget this "
                        "model (the one that is connected), forget everything."
                    ),
                ),
            ],
            outputs=[
                PolicyType.Output(
                    "policy", tooltip="What was chosen; connect it to DiCache Apply, or use its preset tuned."
                ),
                io.Image.Output(
                    "pictures",
                    tooltip="A sheet for each prompt: without DiCache, the choice, the next faster one, and their "
                    "differences. Needs a VAE.",
                ),
                io.Image.Output("plot", tooltip="Quality against time of everything that was tried."),
                io.String.Output("report", tooltip="Everything that was measured as JSON; or the list."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, speed: float | None = 2.0, want: str | None = None) -> bool | str:
        if want == SPEED and checkable(speed, NUMBER) == 1:
            return "speed is 1: write how many times as fast as without DiCache it is to be, such as 2"
        return True

    @classmethod
    def fingerprint_inputs(cls, action: str | None = TUNE, **_others: Any) -> str:
        """A list is another one when something else is remembered."""
        return "" if action == TUNE else memory_state()

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        latent_image: dict,
        want: str,
        speed: float = 2.0,
        vae: io.Vae.Type | None = None,
        low_noise_model: io.Model.Type | None = None,
        action: str = TUNE,
        **sampler: Any,
    ) -> io.NodeOutput:
        if action != TUNE:
            text = {LIST: listing, FORGET: lambda: forget(model), FORGET_ALL: forget_all}[action]()
            tell(cls.hidden.unique_id, text)
            missing = nothing(f"DiCache Tune was asked to {action}, not to tune.")
            return io.NodeOutput(missing, missing, missing, text, ui={"text": [text]})
        wish: Wish = Reach(speed) if want == SPEED else Keep(QUALITIES[want])
        words = f"{speed:g}x" if want == SPEED else want
        see = (lambda samples: reporting.as_pictures(picture_part(samples))) if vae is None else _decoder(vae)
        models = [model, *([low_noise_model] if low_noise_model else [])]
        found = tune(
            models, as_samplings(latent_image, **sampler), wish, words, see, reporting.similarity, cls.hidden.unique_id
        )
        answer, plot = found.answer, reporting.tune_plot(found.answer, wish)
        report = reporting.tune_report(answer, words, wish, found.situation, found.file)
        sheet = reporting.tune_sheet(answer, found.pictures, found.steps, is_video(latent_image)) if vae else None
        text = reporting.tune_text(answer, words)
        tell(cls.hidden.unique_id, text)
        pictures = nothing("Connect a VAE to DiCache Tune to get pictures.") if sheet is None else sheet
        batches = [batch for batch in (sheet, plot) if batch is not None]
        seen = [image for batch in batches for image in ui.PreviewImage(batch, cls=cls).as_dict()["images"]]
        return io.NodeOutput(
            answer.chosen.candidate.made, pictures, plot, reporting.as_json(report),
            ui={"images": seen, "text": [text], "dicache": [report]},
        )  # fmt: skip


def _decoder(vae: io.Vae.Type) -> Any:
    return lambda samples: decode(vae, samples)
