"""The demo's sheets, one column per way of sampling, and the README's image, which has the images alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

matplotlib.use("Agg")
from matplotlib import pyplot as plt

AMPLIFIED = 4
INCHES = 2.6  # width of an image
FILM_INCHES = 3.4  # width of a film strip


class WayLike(Protocol):
    """The part of sampling.Way that is drawn."""

    frames: list[np.ndarray]


def sheet(rows: Sequence[tuple[Sequence[WayLike], Sequence[str]]], path: Path, *, dpi: int = 110) -> None:
    """A row per caption, of images and their differences; a row is (ways, their titles), one line or more each."""
    columns = len(rows[0][0])
    image = strip(rows[0][0][0].frames)
    width = INCHES if len(rows[0][0][0].frames) == 1 else FILM_INCHES
    height = width * image.shape[0] / image.shape[1]
    size = (columns * (width + 0.1), len(rows) * (2 * height + 0.75))
    figure, axes = plt.subplots(2 * len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for (ways, titles), above, below in zip(rows, axes[::2], axes[1::2], strict=True):
        first = strip(ways[0].frames)
        for way, title, top, bottom in zip(ways, titles, above, below, strict=True):
            top.imshow(strip(way.frames))
            top.set_title(title, fontsize=9, loc="left")
            if way is not ways[0]:
                bottom.imshow(difference(first, strip(way.frames)))
        below[0].text(1, 0.5, f"difference from it,\n{AMPLIFIED} times as strong", ha="right", va="center", fontsize=9)
    for axis in axes.flat:
        axis.axis("off")
    figure.savefig(path, dpi=dpi)
    plt.close(figure)


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|one - other|, amplified, as an image."""
    return (np.abs(one.astype(np.int16) - other.astype(np.int16)) * AMPLIFIED).clip(0, 255).astype(np.uint8)


def strip(frames: list[np.ndarray]) -> np.ndarray:
    """Frames (H, W, 3) side by side with a thin white gap."""
    gap = np.full((frames[0].shape[0], 3, 3), 255, np.uint8)
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1], 1)


# What stands at the head of the README: 2x2 images a column, at twice the size at which GitHub shows it.
SIDE, GAP, LINE = 190, 4, 36
INK, PAPER = (31, 35, 40), (255, 255, 255)


def head(columns: Sequence[tuple[Sequence[np.ndarray], Sequence[str]]], path: Path) -> None:
    """Columns of four images (H, W, 3) in a square under up to three lines of title each."""
    width = 2 * SIDE + GAP
    size = (len(columns) * (width + 4 * GAP) - 4 * GAP, 3 * LINE + 2 * GAP + width)
    paper = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(paper)
    for number, (images, title) in enumerate(columns):
        left = number * (width + 4 * GAP)
        for at, line in enumerate(title):
            draw.text((left, at * LINE), line, INK, ImageFont.load_default(32 if at == 0 else 28))
        for at, image in enumerate(images):
            place = (left + at % 2 * (SIDE + GAP), 3 * LINE + 2 * GAP + at // 2 * (SIDE + GAP))
            paper.paste(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), place)
    paper.save(path, optimize=True)
