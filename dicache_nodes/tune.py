"""The node that finds the setting for a model: declaration only."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io, ui

from ..dicache_core import Goal, KeepQuality
from ..dicache_core.quality import QUALITIES
from ..dicache_core.tuning.search import ReachSpeed
from ..model_patchers import (
    as_samplings,
    check_pictures,
    check_plan_name,
    decode,
    export_plan,
    forget,
    forget_all,
    import_plan,
    is_video,
    listing,
    nothing,
    override,
    picture_part,
    plans_digest,
    plans_listing,
    tune,
    tuned_digest,
    tuning_state,
)
from . import rendering
from .shared import CATEGORY, NUMBER, PolicyType, all_typed, checkable, custom_sampling_inputs, sampler_inputs

SPEED = "reach the speed"
TUNE, LIST, FORGET, FORGET_ALL = "tune", "list what is remembered", "forget this model", "forget everything"
EXPORT, LIST_PLANS, IMPORT = "export the plan", "list plans to import", "import a plan"


class DiCacheTune(io.ComfyNode):
    """Finds the fastest setting that keeps a quality, on the user's own model, and remembers it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTuning",  # longer than that of Apply: of equal hits a search shows the shortest first
            display_name="DiCache Tune",
            category=CATEGORY,
            description=(
                "Finds the fastest setting that keeps the quality you choose. It samples your prompts in full and "
                "with several settings, and saves the result for this model. Then set DiCache Apply's preset to "
                "tuned."
            ),
            search_aliases=["tune", "find the threshold", "best setting", "optimize"],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model to tune for, with the LoRAs you use. A DiCache Apply before it is ignored.",
                ),
                io.Conditioning.Input(
                    "positive", optional=True, tooltip="A prompt as you usually write them. Not needed with a guider."
                ),
                io.Conditioning.Input(
                    "negative", optional=True, tooltip="What the image should not show. Not needed with a guider."
                ),
                io.Latent.Input(
                    "latent_image", tooltip="The latent to denoise. Every sample of a batch counts as an image."
                ),
                *sampler_inputs(
                    seed="The first seed. Each prompt is sampled from two seeds of its own, counted up from this one.",
                    steps="Steps, as many as you will sample with.",
                    sampler="The sampler you will use.",
                ),
                io.Combo.Input(
                    "want",
                    display_name="quality target",
                    options=[*QUALITIES, SPEED],
                    default=next(iter(QUALITIES)),
                    tooltip=(
                        "How close images must stay to the uncached ones. looks the same: PSNR 35 dB and SSIM "
                        "0.97. nearly the same: 30 dB and 0.93. similar: 25 dB and 0.85. Tune finds the fastest "
                        "setting that keeps it. reach the speed: Tune finds the closest setting that is fast enough."
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
                    tooltip="With a VAE the images are measured and shown. Without it the latents are measured.",
                ),
                *[
                    io.Conditioning.Input(
                        f"positive_{number}",
                        optional=True,
                        tooltip=(
                            "One more prompt. Two or three different prompts make the choice safer. Each costs "
                            "as much time as the first."
                        ),
                    )
                    for number in (2, 3, 4)
                ],
                *custom_sampling_inputs(),
                io.Combo.Input(
                    "action",
                    options=[TUNE, LIST, FORGET, FORGET_ALL, EXPORT, LIST_PLANS, IMPORT],
                    default=TUNE,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "tune measures and saves. The other actions sample nothing: list what is remembered, "
                        "forget this model (the connected one), forget everything, or export and import plans."
                    ),
                ),
                io.String.Input(
                    "plan_name",
                    default="my_plan",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "For the actions export the plan and import a plan: the name of the file in "
                        "user/dicache/plans, without .json. Import also finds the plans of this pack."
                    ),
                ),
            ],
            outputs=[
                PolicyType.Output(
                    "policy",
                    tooltip=(
                        "The chosen setting. Connect it to DiCache Apply, or set DiCache Apply's preset to tuned."
                    ),
                ),
                io.Image.Output(
                    "pictures",
                    display_name="comparison sheet",
                    tooltip=(
                        "One sheet for each prompt: without DiCache, the choice, the next faster setting, and "
                        "their differences. Needs a VAE."
                    ),
                ),
                io.Image.Output("plot", tooltip="Quality against time of every setting that was tried."),
                io.String.Output("report", tooltip="Everything that was measured as JSON, or the list."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls, speed: float | None = 2.0, want: str | None = None, action: str | None = TUNE, plan_name: str | None = None
    ) -> bool | str:
        try:
            if action in (EXPORT, IMPORT) and checkable(plan_name, str) is not None:
                check_plan_name(plan_name)
        except ValueError as error:
            return str(error)
        if want == SPEED and checkable(speed, NUMBER) == 1:
            return "speed is 1: write a higher one, such as 2"
        return True

    @classmethod
    def fingerprint_inputs(cls, action: str | None = TUNE, **_others: Any) -> str:
        """Tuned again where what was tuned is gone; a list is another one when something else is there to be listed."""
        return tuning_state(cls.hidden and cls.hidden.unique_id) if action == TUNE else tuned_digest() + plans_digest()

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
        plan_name: str = "",
        **sampler: Any,
    ) -> io.NodeOutput:
        if action != TUNE:
            text = cls._without_sampling(action, model, plan_name)
            missing = nothing(f"The action of DiCache Tune is {action!r}, not {TUNE!r}.")
            return io.NodeOutput(missing, missing, missing, text, ui={"text": [text]})
        rendering.check_tuning()
        if vae is not None:
            check_pictures(model, latent_image, vae)
        override(model, cls.hidden.unique_id)
        goal: Goal = ReachSpeed(speed) if want == SPEED else KeepQuality(QUALITIES[want])
        words = f"{speed:g}x" if want == SPEED else want
        see = (lambda samples: rendering.as_pictures(picture_part(samples))) if vae is None else partial(decode, vae)
        models = [model, *([low_noise_model] if low_noise_model else [])]
        found = tune(
            models,
            as_samplings(latent_image, **all_typed(sampler)),
            goal,
            words,
            see,
            rendering.similarity,
            cls.hidden.unique_id,
        )
        result, plot = found.result, rendering.tune_plot(found.result, goal)
        report = rendering.tune_report(
            result, words, goal, found.context, found.file, found.unsaved, found.no_search, found.search_seconds
        )
        video, counted = is_video(latent_image), (found.steps, found.evaluations)
        sheet = rendering.tune_sheet(result, found.pictures, *counted, video) if vae else None
        text = rendering.tune_text(result, words, found.unsaved, found.no_search)
        pictures = nothing("Connect a VAE to DiCache Tune to get images.") if sheet is None else sheet
        batches = [batch for batch in (sheet, plot) if batch is not None]
        seen = [image for batch in batches for image in ui.PreviewImage(batch, cls=cls).as_dict()["images"]]
        return io.NodeOutput(
            result.chosen.candidate.made, pictures, plot, rendering.as_json(report),
            ui={"images": seen, "text": [text], "dicache": [report]},
        )  # fmt: skip

    @classmethod
    def _without_sampling(cls, action: str, model: io.Model.Type, plan_name: str) -> str:
        """What an action other than tune did, in words."""
        actions = {
            LIST: listing,
            FORGET: lambda: forget(model),
            FORGET_ALL: forget_all,
            EXPORT: lambda: export_plan(model, plan_name),
            LIST_PLANS: lambda: plans_listing(model),
            IMPORT: lambda: import_plan(model, plan_name, cls.hidden.unique_id),
        }
        return actions[action]()
