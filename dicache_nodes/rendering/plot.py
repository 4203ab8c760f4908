"""The image of a run: the error against the threshold step by step, one panel per sample, and the seconds below.

matplotlib, because it draws text, axes and legends well everywhere and users of Python tools have it or get it in one
line; its figure objects are used without pyplot, so nothing global is touched.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...dicache_core import RunStatistics, SampleKey, StepCode, threshold_of
from ...dicache_core.engine.decision import Decision
from ...dicache_core.explain import done_text
from ...dicache_core.run_statistics import PassRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

WIDTH, HEIGHT, DPI = 1280, 960, 100  # pixels; a node shows them at a third, so no letter is below 30
MOST_PLOTS = 8  # a plot takes 0.4 s of a CPU (30 steps; 1.5 s at 200), the first one of a process 2 s
MOST_SAMPLES = 4
LARGE, SMALL = 26, 22  # points of 1/72 inch: 36 and 30 pixels
MOST_TICKS = 3
HEADROOM = 1.6  # top of the error axis over the threshold
PAPER, INK, FAINT = "#1d1f24", "#e8e8ea", "#b4b7be"
COLORS = {
    StepCode.WARM_UP: "#7d828c",
    StepCode.LAST: "#7d828c",
    StepCode.COMPUTED: "#d9822b",
    StepCode.MIXED: "#d9822b",
    StepCode.PARTIAL: "#22a38b",
    StepCode.REUSED: "#22a38b",
}
HATCHES = {StepCode.WARM_UP: "//", StepCode.LAST: "//"}  # told apart by eyes that see no green, too


def plot_runs(runs: Sequence[RunStatistics]) -> Tensor:
    """A plot per run ``(R, 960, 1280, 3)`` in [0, 1]; of many runs the latest ones, which say so."""
    plotted = runs[-MOST_PLOTS:]
    note = f"the last {len(plotted)} of {len(runs)} runs" if len(runs) > len(plotted) else ""
    return torch.cat([plot_run(run, note) for run in plotted])


def plot_run(run: RunStatistics, note: str = "") -> Tensor:
    """The plot as an image ``(1, 960, 1280, 3)`` in [0, 1], with ``note`` above its legend."""
    figure = blank_figure()
    samples = {key: [(p, run.shown(d)) for p, d in passes] for key, passes in run.passes_by_sample().items()}
    measured = {key: passes for key, passes in samples.items() if any(d.accumulated for _, d in passes)}
    shown = list(measured.items())[:MOST_SAMPLES]  # some methods measure no error: there is nothing to draw
    axes = figure.subplots(
        len(shown) + 1,
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": [3.0] * max(len(shown), 1) + [2.0] if shown else [1.0]},
    )[:, 0]
    several = len({key.row for key in samples}) > 1
    for axis, (key, passes) in zip(axes, shown, strict=False):
        _draw_sample(axis, run, _sample_name(run, key, several) if len(samples) > 1 else "", passes)
    _draw_seconds(axes[-1], run)
    figure.suptitle(_title(run), color=INK, fontsize=LARGE, x=0.02, ha="left", fontweight="bold")
    hidden = len(measured) - len(shown)
    _draw_legend(
        figure,
        "skipped" if run.shares is None else "skipped in part",
        ", ".join(filter(None, [f"{hidden} more samples are not drawn" if hidden else "", note])),
    )
    return as_picture(figure)


def plot_text(text: str) -> Tensor:
    """An image of the same size that says why there is no plot ``(1, 960, 1280, 3)``."""
    figure = blank_figure()
    figure.text(
        0.5,
        0.5,
        "\n".join(textwrap.fill(line, 60) for line in text.splitlines()),
        color=INK,
        fontsize=SMALL,
        ha="center",
        va="center",
        linespacing=1.5,
    )
    return as_picture(figure)


def blank_figure() -> Figure:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("DiCache Report needs matplotlib: run pip install matplotlib") from error
    figure = Figure((WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.2, h_pad=0.12)
    FigureCanvasAgg(figure)
    return figure


def _draw_sample(axis: Axes, run: RunStatistics, name: str, passes: list[tuple[PassRecord, Decision]]) -> None:
    """Bars of accumulated error in the colour of what became of the step, under a line at the threshold."""
    threshold = threshold_of(run.config) or 0.0  # a steered one is another at every step
    measured = [d.accumulated for _, d in passes if d.accumulated is not None and math.isfinite(d.accumulated)]
    top = HEADROOM * threshold if threshold > 0 else max(measured, default=1.0) or 1.0
    foot = 0.08 * top
    for passed, decision in passes:
        height = top if decision.accumulated is None or math.isinf(decision.accumulated) else decision.accumulated
        if decision.accumulated is None:
            height = 0.0
        color, hatch = COLORS[decision.code], HATCHES.get(decision.code)
        axis.bar(passed.evaluation + 1, min(height, top), width=0.86, color=color, alpha=0.62, linewidth=0)
        foot_color = {"color": PAPER, "edgecolor": color, "hatch": hatch} if hatch else {"color": color}
        axis.bar(passed.evaluation + 1, -foot / (2 if decision.reuse else 1), width=0.86, **foot_color)
    if threshold > 0:
        axis.axhline(threshold, color=INK, linestyle=(0, (5, 4)), linewidth=2)
        axis.text(
            0.006, threshold + 0.03 * top, f"threshold {threshold:g}", color=INK, fontsize=SMALL,
            transform=axis.get_yaxis_transform(), va="bottom",
        )  # fmt: skip
    axis.set_ylim(-foot, top)
    axis.set_ylabel("error", color=FAINT, fontsize=SMALL)
    if name:
        axis.text(0.006, 0.36, name, color=INK, fontsize=SMALL, transform=axis.transAxes, va="center")
    dress(axis)
    axis.set_yticks([0, threshold or top])


def _draw_seconds(axis: Axes, run: RunStatistics) -> None:
    """Measured seconds of each evaluation of the model."""
    from matplotlib.ticker import MaxNLocator

    for index, (seconds, cell) in enumerate(zip(run.seconds_per_step(), run.cells, strict=True)):
        if seconds is not None:
            axis.bar(index + 1, seconds, width=0.86, color=COLORS[StepCode(cell)], linewidth=0)
    axis.set_ylabel("seconds", color=FAINT, fontsize=SMALL)
    axis.set_xlabel("step" if run.by_steps else "model evaluation", color=FAINT, fontsize=SMALL)
    axis.set_xlim(0.4, len(run.cells) + 0.6)
    axis.set_ylim(bottom=0)
    dress(axis)
    axis.xaxis.set_major_locator(MaxNLocator(MOST_TICKS, integer=True))


def _draw_legend(figure: Figure, skipped: str, title: str) -> None:
    from matplotlib.patches import Patch

    names = {StepCode.WARM_UP: "warm-up, last", StepCode.COMPUTED: "computed", StepCode.REUSED: skipped}
    figure.legend(
        handles=[_patch(Patch, code, name) for code, name in names.items()],
        loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL, labelcolor=INK, title=title or None,
    ).get_title().set(color=FAINT, fontsize=SMALL)  # fmt: skip


def _patch(patch: type, code: StepCode, name: str) -> Patch:
    if code in HATCHES:
        return patch(facecolor=PAPER, edgecolor=COLORS[code], hatch=HATCHES[code], label=name)
    return patch(color=COLORS[code], label=name)


def dress(axis: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_facecolor(PAPER)
    axis.tick_params(colors=FAINT, labelsize=SMALL, length=0)
    axis.yaxis.set_major_locator(MaxNLocator(MOST_TICKS))
    axis.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.8)
    axis.set_axisbelow(True)
    for side in axis.spines.values():
        side.set_visible(False)


def _sample_name(run: RunStatistics, key: SampleKey, several: bool) -> str:
    name = run.name_of(key)
    number = f" {name.number}" if name.number > 1 else ""
    return (name.role or "prompt") + number + (f", sample {key.row + 1}" if several else "")


def _title(run: RunStatistics) -> str:
    speed = "" if run.speedup is None else f", {run.speedup:.2f}x the speed"
    unit = "steps" if run.by_steps else "evaluations"
    return f"{run.architecture}: {done_text(run, unit)}{speed}"


def as_picture(figure: Figure) -> Tensor:
    figure.canvas.draw()
    pixels = torch.frombuffer(bytearray(figure.canvas.buffer_rgba()), dtype=torch.uint8)
    return pixels.reshape(1, HEIGHT, WIDTH, 4)[..., :3].float() / 255
