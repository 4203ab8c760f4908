"""The node that shows what a cache did: declaration only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dicache_core import RunLog, run_json
from . import rendering
from .shared import CATEGORY, Statistics


class DiCacheReport(io.ComfyNode):
    """Shows what a cache did."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheReport",
            display_name="DiCache Report",
            category=CATEGORY,
            description=(
                "Shows what DiCache did in the last run: computed and skipped steps, their estimated error and "
                "their seconds. As a plot, as text and as JSON."
            ),
            search_aliases=["report", "plot", "statistics"],
            inputs=[
                Statistics.Input(
                    "statistics",
                    optional=True,
                    tooltip=(
                        "The statistics output of DiCache Apply. Without it, for example when DiCache Apply is "
                        "bypassed, the report says so."
                    ),
                ),
                io.AnyType.Input(
                    "after",
                    display_name="run after",
                    tooltip=(
                        "Connect the sampler's output or anything downstream, so that the report runs after sampling."
                    ),
                ),
            ],
            outputs=[
                io.Image.Output("plot", tooltip="One plot for each sampling in the last run."),
                io.String.Output("report", tooltip="The same and more as JSON, with one entry for each sampling."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, after: Any, statistics: RunLog | None = None) -> io.NodeOutput:
        runs = statistics.runs if statistics is not None else []
        summaries = [run_json(run, details=True) for run in runs]
        texts = [rendering.describe(run) for run in runs]
        if not runs:
            texts = [_why_no_run(statistics)]
        plot = rendering.plot_runs(runs) if runs else rendering.plot_text(texts[0])
        # The front end draws from "dicache"; all of it stays in the server's history.
        return io.NodeOutput(plot, rendering.as_json({"runs": summaries}), ui={"text": texts, "dicache": summaries})


def _why_no_run(statistics: RunLog | None) -> str:
    if statistics is None:
        return rendering.BYPASSED
    return rendering.OVERRIDDEN if statistics.overridden else rendering.NO_RUN
