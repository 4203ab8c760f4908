"""The nodes of the pack: declarations only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyExtension, io

from . import reporting
from .dicache_core import (
    CACHE_DEVICES,
    DEFAULT_PRESET,
    LARGEST_COUNT,
    LARGEST_THRESHOLD,
    PRESETS,
    RESIDUAL_BITS,
    TUNED_PRESET,
    CacheConfig,
    Policy,
    RunLog,
    asks_memory,
    check_threshold,
    resolve,
)
from .model_patchers import architecture_of, attach, memory_state, recalled
from .nodes_compare import DiCacheCompare
from .nodes_policy import DiCacheCalibrate, DiCachePolicy
from .nodes_shared import ALIASES, CATEGORY, NUMBER, PolicyType, Statistics, checkable
from .nodes_tune import DiCacheTune


class DiCacheApply(io.ComfyNode):
    """Puts the cache around a model's sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheApply",
            display_name="DiCache Apply",
            category=CATEGORY,
            description=(
                "Samples faster by skipping most of the model's work on steps whose result can be told from the steps "
                "before. Put it between the model loader (after LoRAs) and the sampler."
            ),
            search_aliases=ALIASES,
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up."),
                io.Combo.Input(
                    "preset",
                    options=[*PRESETS, TUNED_PRESET],
                    default=DEFAULT_PRESET,
                    optional=True,
                    tooltip=(
                        "How much is skipped at most: fidelity a third of the steps, balanced half of them, fast two "
                        "thirds, all with this pack's own method; published is DiCache as in the paper; tuned is what "
                        "DiCache Tune found for your model. Leave the numbers below at -1 to get what the preset says."
                    ),
                ),
                io.Float.Input(
                    "threshold",
                    default=-1.0,
                    min=-1.0,
                    max=LARGEST_THRESHOLD,
                    step=0.001,
                    optional=True,
                    tooltip=(
                        "-1 leaves it to the preset. A number switches to the paper's method, whatever the preset: how "
                        "much change may add up over skipped steps (published: Flux 0.4, HunyuanVideo 0.1, Wan 0.08). "
                        "Higher skips more and costs quality; 0 never skips."
                    ),
                ),
                io.Int.Input(
                    "probe_depth",
                    default=-1,
                    min=-1,
                    max=LARGEST_COUNT,
                    optional=True,
                    tooltip=(
                        "-1 leaves it to the preset. A number switches to the paper's method, whatever the preset: so "
                        "many blocks run on every step to see how much the picture changes (published: 1). More of "
                        "them judge better and make every skipped step slower."
                    ),
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=-1,
                    min=-1,
                    max=10000,
                    optional=True,
                    tooltip=(
                        "Steps at the start that are never skipped, because they lay out the picture. -1 is the "
                        "method's own number (published: 20% of the steps; the other presets: 1). A number counts for "
                        "every preset and policy. Fewer is faster and risks the composition."
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
                    tooltip="Steps before this share of the schedule are never skipped; 0 is its start, 1 its end.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Steps from this share of the schedule on are never skipped. Lower it to spare details.",
                ),
                io.Int.Input(
                    "max_consecutive",
                    default=-1,
                    min=-1,
                    max=10000,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Longest run of skipped steps; after it one step is computed. 0 sets no limit, -1 is the "
                        "method's own (all presets: no limit). A number counts for every preset and policy."
                    ),
                ),
                io.Combo.Input(
                    "cache_device",
                    options=list(CACHE_DEVICES),
                    default="auto",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Where the cache lives. gpu: in VRAM, fastest; cpu: in main memory, when VRAM is short; auto: "
                        "chooses."
                    ),
                ),
                io.Combo.Input(
                    "residual_bits",
                    options=[str(bits) for bits in RESIDUAL_BITS],
                    default="16",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "16 keeps the cache in the model's own precision. 8 halves its memory and changes the picture "
                        "a little; fidelity, balanced and fast hold so little that it makes no difference to them."
                    ),
                ),
                PolicyType.Input(
                    "policy",
                    optional=True,
                    tooltip=(
                        "From DiCache Policy: another method in place of the preset's. A number typed here wins where "
                        "that method knows such a number; where it does not, this node says so."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="The model, sampling through DiCache."),
                Statistics.Output(
                    "statistics", tooltip="What this node's cache did in the last prompt. Connect it to DiCache Report."
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
        threshold, probe_depth = checkable(threshold, NUMBER), checkable(probe_depth, int)
        start_percent, end_percent = (checkable(v, NUMBER) for v in (start_percent, end_percent))
        try:
            if threshold is not None and threshold != -1:
                check_threshold(threshold)
            if probe_depth is not None and probe_depth != -1:
                CacheConfig(probe_depth=probe_depth)
            if start_percent is not None and end_percent is not None:
                CacheConfig(start_percent=start_percent, end_percent=end_percent)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, preset: str | None = DEFAULT_PRESET, **_others: Any) -> str:
        """What is remembered can change, and with it what the preset tuned means."""
        return "" if preset in PRESETS else memory_state()

    @classmethod
    def execute(
        cls,
        model: io.Model.Type,
        preset: str = DEFAULT_PRESET,
        residual_bits: str = "16",
        policy: Policy | None = None,
        **numbers: Any,
    ) -> io.NodeOutput:
        typed = {**numbers, "residual_bits": int(residual_bits)}
        if asks_memory(preset, policy, **numbers):
            config = recalled(model, **typed)
        else:
            config = resolve(architecture_of(model), preset, policy, **typed)
        log = RunLog()
        return io.NodeOutput(attach(model, config, node_id=cls.hidden.unique_id, runs=log), log)


class DiCacheReport(io.ComfyNode):
    """Shows what a cache did."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheReport",
            display_name="DiCache Report",
            category=CATEGORY,
            description=(
                "Shows what DiCache did in a run: the error of every step against the threshold, computed and skipped "
                "steps, and the seconds they took, as a picture, as text and as JSON."
            ),
            search_aliases=[*ALIASES, "report", "plot", "statistics"],
            inputs=[
                Statistics.Input(
                    "statistics",
                    optional=True,
                    tooltip="The statistics output of DiCache Apply. Without it, say because that is bypassed, the "
                    "report says so.",
                ),
                io.AnyType.Input(
                    "after",
                    tooltip="The sampler's output (or anything behind it), so that the report is made when it is done.",
                ),
            ],
            outputs=[
                io.Image.Output("plot", tooltip="One plot for each run of the sampler in the last prompt."),
                io.String.Output("report", tooltip="The same and more as JSON, one entry per run."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, after: Any, statistics: RunLog | None = None) -> io.NodeOutput:
        runs = statistics.runs if statistics is not None else []
        summaries = [reporting.told(run) for run in runs]
        texts = [reporting.describe([run]) for run in runs]
        if not runs:
            texts = [reporting.describe([]) if statistics is not None else reporting.BYPASSED]
        plot = reporting.plot_runs(runs) if runs else reporting.plot_text(texts[0])
        # The front end draws from "dicache"; all of it stays in the server's history.
        return io.NodeOutput(plot, reporting.as_json({"runs": summaries}), ui={"text": texts, "dicache": summaries})


class DiCacheExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from .nodes_ray import ray_nodes  # it has the widgets of DiCacheApply

        return [DiCacheApply, DiCacheReport, DiCacheCompare, DiCachePolicy, DiCacheCalibrate, DiCacheTune, *ray_nodes()]
