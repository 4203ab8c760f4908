"""The image sheet: the prompts that ``balanced`` changed most, one a row, and in each row every way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from findings import run_of, speedup, worst_first
from PIL import Image, ImageDraw, ImageFont
from ways import TITLES, WAYS, WITHOUT

MOST_ROWS = 6
SIDE = 320  # the longer one of an image, in pixels
GAP, LINE, LETTERS = 12, 32, 22
NARROWEST = 12 * LETTERS  # of a column, for its captions
PAPER, INK, FAINT = (29, 31, 36), (232, 232, 234), (150, 153, 162)


def thumbnail(image: np.ndarray) -> Image.Image:
    """(H, W, 3) in 0 to 255, made as large as the sheet shows it."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (round(width * scale), round(height * scale))
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)


def draw(found: dict[str, Any], image_of: Callable[[int, str], Path]) -> Image.Image:
    """The sheet of the prompts that were sampled in all ways so far."""
    rows = worst_first(found)[:MOST_ROWS]
    columns = [way for way in WAYS if any(run_of(found, number, way) for number in rows)]
    with Image.open(image_of(rows[0], WITHOUT)) as first:
        width, height = first.size
    width = max(width, NARROWEST)
    head, cell = GAP + 2 * LINE, height + LINE + GAP
    sheet = Image.new("RGB", (len(columns) * (width + GAP) + GAP, head + len(rows) * cell), PAPER)
    paint, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    paint.text((GAP, GAP // 2), _headline(found), FAINT, font)
    for column, way in enumerate(columns):
        left = GAP + column * (width + GAP)
        paint.text((left, GAP + LINE), TITLES[way], INK, font)
        for place, number in enumerate(rows):
            if run := run_of(found, number, way):
                top = head + place * cell
                paint.text((left, top), _caption(found, run), FAINT, font)
                with Image.open(image_of(number, way)) as image:
                    sheet.paste(image, (left, top + LINE))
    return sheet


def _headline(found: dict[str, Any]) -> str:
    return (
        f"{found['name']}, {found['width']}x{found['height']}, {found['place']['device']}: images that balanced "
        "changed most; speed-up, computed calls, PSNR against without"
    )


def _caption(found: dict[str, Any], run: dict[str, Any]) -> str:
    if run["way"] == WITHOUT:
        return f"prompt {run['prompt'] + 1}, {run['sampling_seconds']:.3g} s"
    closeness = "no difference" if run["psnr"] is None else f"{run['psnr']:.1f} dB"
    return f"{speedup(found, run):.2f}x, {run['computed']} calls, {closeness}"
