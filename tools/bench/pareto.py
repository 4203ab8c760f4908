"""One Pareto plot per model: closeness over computed steps, the lines that matter in colour with their names beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

# Colours that people who see no red or green tell apart (Okabe and Ito), dark enough for text on white.
NAMED = {
    "dicache": ("DiCache, the paper's rule", "#a63d00"),
    "deepcache": ("DeepCache", "#5b5b00"),
    "fewer_steps": ("simply fewer steps", "#1a1a1a"),
    "taylorseer_1": ("TaylorSeer", "#8c3f74"),
    "comfyui_easycache": ("ComfyUI's EasyCache", "#0b63a3"),
}
BEST = ("{}, this pack's own", "#00724f")
OTHERS = "#d0d4d9"
LINE = 9.0  # least distance of two names, in points


def plot(rows: Sequence[dict], title: str, best: str, path: Path) -> None:
    """Write the plot of one model's rows to ``path``."""
    figure = drawn(rows, title, best)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def drawn(rows: Sequence[dict], title: str, best: str) -> Figure:
    """The plot; names stand beside the right ends of their lines, moved apart where they would meet."""
    named = {best: (BEST[0].format(best), BEST[1]), **NAMED}
    lines = {
        name: sorted((r["computed_steps"], r["psnr_mean"]) for r in rows if r["policy"] == name)
        for name in dict.fromkeys(r["policy"] for r in rows)
    }
    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    for name, points in sorted(lines.items(), key=lambda item: (item[0] in named, item[0] == best)):
        label, colour = named.get(name, (None, OTHERS))
        axes.plot(*zip(*points, strict=True), color=colour, lw=2.2 if label else 0.9, marker="o", ms=4 if label else 2)
    axes.set(xlabel="computed steps of 30", title=title)
    axes.set_ylabel("PSNR to the uncached run, dB")
    last = max(points[-1][0] for name, points in lines.items() if name in named)
    axes.set_xlim(right=last + 0.25)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    _names(axes, {name: points[-1] for name, points in lines.items() if name in named}, named)
    axes.plot([], [], color=OTHERS, marker="o", ms=2, lw=0.9, label=f"{len(set(lines) - set(named))} other policies")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _names(axes, ends: dict[str, tuple[float, float]], named: dict[str, tuple[str, str]]) -> None:
    axes.figure.canvas.draw()  # the data's place on the page is known after this
    order = sorted(ends, key=lambda name: ends[name][1])
    points = 72 / axes.figure.dpi
    wanted = [axes.transData.transform(ends[name])[1] * points for name in order]
    for name, at, to in zip(order, wanted, apart(wanted, LINE + 2), strict=True):
        label, colour = named[name]
        axes.annotate(
            label, (1, ends[name][1]), xycoords=("axes fraction", "data"), xytext=(4, to - at),
            textcoords="offset points", fontsize=LINE, color=colour, va="center", annotation_clip=False,
        )  # fmt: skip


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Rising ``heights`` moved as little as they must be, so that neighbours are ``least`` apart.

    Names that meet form a block, which stands around the middle of where its members wanted to be.
    """
    blocks: list[list[float]] = []
    for height in heights:
        blocks.append([height])
        while len(blocks) > 1 and _bottom(blocks[-1], least) < _bottom(blocks[-2], least) + least * len(blocks[-2]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [_bottom(block, least) + least * i for block in blocks for i in range(len(block))]


def _bottom(block: list[float], least: float) -> float:
    """Where the lowest of a block's names stands."""
    return sum(block) / len(block) - least * (len(block) - 1) / 2
