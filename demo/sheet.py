"""The side-by-side picture: baseline, DiCache and their amplified difference, one caption after the other."""

from pathlib import Path
from typing import Protocol

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

AMPLIFIED = 4
INCHES = 3.0  # height of one picture


class PairLike(Protocol):
    """The part of demo.Pair that is drawn."""

    caption: str
    computed: int
    reused: int
    seconds_baseline: float
    seconds_dicache: float
    psnr: float
    baseline: list[np.ndarray]
    dicache: list[np.ndarray]


def side_by_side(pairs: list[PairLike], path: Path) -> None:
    """Stills: a row per caption with three columns.  Videos: three film strips below one another per caption."""
    video = len(pairs[0].baseline) > 1
    rows, columns = (3 * len(pairs), 1) if video else (len(pairs), 3)
    strip = _strip(pairs[0].baseline)
    height = 0.55 * INCHES if video else INCHES
    width = height * strip.shape[1] / strip.shape[0]
    size = (columns * (width + 0.15), rows * (height + 0.45))
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for pair, cells in zip(pairs, axes.reshape(-1, 3), strict=True):
        for axis, picture, title in zip(cells, _panels(pair), _titles(pair), strict=True):
            axis.imshow(picture)
            axis.set_title(title, fontsize=8, loc="left")
            axis.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panels(pair: PairLike) -> list[np.ndarray]:
    one, other = _strip(pair.baseline), _strip(pair.dicache)
    difference = np.abs(one.astype(np.int16) - other.astype(np.int16)) * AMPLIFIED
    return [one, other, difference.clip(0, 255).astype(np.uint8)]


def _titles(pair: PairLike) -> list[str]:
    steps = pair.computed + pair.reused
    return [
        f"{pair.caption}\nbaseline: {steps} steps, {pair.seconds_baseline:.2f} s",
        f"DiCache: {pair.computed} computed, {pair.reused} skipped,\n{pair.seconds_dicache:.2f} s",
        f"difference x {AMPLIFIED}\nPSNR {pair.psnr:.1f} dB",
    ]


def _strip(frames: list[np.ndarray]) -> np.ndarray:
    """Frames (H, W, 3) side by side with a thin white gap."""
    gap = np.full((frames[0].shape[0], 3, 3), 255, np.uint8)
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1], 1)
