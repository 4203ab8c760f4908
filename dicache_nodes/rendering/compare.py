"""A comparison in numbers and side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...dicache_core import Outcome
from ...dicache_core.run_json import finite

Font = ImageFont.FreeTypeFont
DIFFERENCE_GAIN = 4.0  # differences are small; four times as strong they can be seen
GAP = 8
LETTERS_ACROSS = 40  # a node shows a sheet about 500 pixels wide, and letters want 12 of them
MOST_FRAMES = 4  # of a video on its sheet
PAPER, INK, FAINT = (29, 31, 36), (232, 232, 234), (150, 153, 162)
SSIM_WINDOW = 11  # as published; smaller only where an image is


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        seconds, speedup: the sampler's time, and that of the run without a cache over it.
        computed, evaluations: evaluations of the model that were computed, parts of them added up, and all of them.
        steps: that were sampled; some samplers evaluate the model more than once for a step.
        psnr: decibels against the run without a cache; ``None`` where there is no difference at all.
        ssim: structural similarity to it, 1 where there is no difference.
        identical: whether there is no difference at all.
        failed: why there is nothing to measure, in words; ``psnr`` and ``ssim`` are ``None`` then.
    """

    label: str
    seconds: float
    speedup: float
    computed: float
    steps: int
    evaluations: int
    psnr: float | None
    ssim: float | None
    identical: bool
    failed: str | None = None

    @property
    def unit(self) -> str:
        """What ``computed`` counts, for people."""
        return "steps" if self.evaluations == self.steps else "evaluations"


def compare_rows(outcomes: list[Outcome], seen: list[Tensor], steps: int) -> list[Row]:
    """Each outcome against the first; ``seen`` is what is compared, one ``(N, H, W, C)`` in any range per outcome."""
    baseline = outcomes[0]
    # Nobody counts in a run without a cache: the sampler is the same, and so is how often it evaluates the model.
    everything = next((len(_cells(outcome)) for outcome in outcomes if outcome.runs), steps)
    nothing_to_compare_with = None if seen[0].isfinite().all() else "the run without DiCache failed"
    rows = []
    for outcome, pictures in zip(outcomes, seen, strict=True):
        failed = why_failed(pictures) or nothing_to_compare_with
        identical = failed is None and torch.equal(pictures, seen[0])
        psnr, ssim = (None, 1.0) if identical else (None, None) if failed else similarity(pictures, seen[0])
        evaluations = len(_cells(outcome)) if outcome.runs else everything
        computed = sum(round(run.ran, 1) for run in outcome.runs) if outcome.runs else everything
        speedup = baseline.seconds / outcome.seconds
        rows.append(
            Row(
                outcome.label, outcome.seconds, speedup, computed, steps, evaluations, finite(psnr), ssim, identical,
                failed,
            )
        )  # fmt: skip
    return rows


def _cells(outcome: Outcome) -> str:
    """Of every evaluation of the model, by one expert or two."""
    return "".join(run.cells for run in outcome.runs)


def why_failed(pictures: Tensor) -> str | None:
    """What is wrong with ``(N, H, W, C)`` in which not every number is finite; ``None`` where all is well."""
    share = 1.0 - pictures.isfinite().float().mean().item()
    return f"{max(share, 0.01):.0%} of the result is NaN or infinite" if share else None


def check_measuring() -> None:
    """Raise an ``ImportError`` where nothing can be measured: before a long run, whose result would be lost."""
    similarity(torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3))


def similarity(pictures: Tensor, reference: Tensor) -> tuple[float, float]:
    """PSNR in decibels and SSIM of ``(N, H, W, C)`` against ``reference``, whose own range counts as full scale."""
    try:
        from kornia.metrics import psnr, ssim
    except ImportError as error:
        raise ImportError("DiCache Compare needs kornia: run pip install kornia") from error
    low, high = reference.min().item(), reference.max().item()
    scale = (high - low) or 1.0
    a, b = (((x.float().cpu() - low) / scale).movedim(-1, 1) for x in (pictures, reference))  # (N, C, H, W)
    height, width = a.shape[-2:]
    window = min(SSIM_WINDOW, ((width if height == 1 else min(height, width)) - 1) | 1)  # odd, no wider than the image
    if height == 1:
        a, b = (x.expand(-1, -1, window, -1) for x in (a, b))  # the same row in all of a window: SSIM along the row
    return psnr(a, b, 1.0).item(), ssim(a, b, window, 1.0).mean().item()


def as_pictures(samples: Tensor) -> Tensor:
    """A latent as ``(N, H, W, C)``: the frames of ``(B, C, T, H, W)`` count as images, and ``(B, C, L)``, which is
    sound or a 3D shape, has images of one row."""
    if samples.ndim == 3:
        samples = samples.unsqueeze(2)
    if samples.ndim == 5:
        samples = samples.movedim(2, 1).flatten(0, 1)
    return samples.movedim(1, -1)


def one_batch(pictures: list[Tensor]) -> Tensor:
    """The images ``(N, H, W, 3)`` of all runs in order."""
    return torch.cat(pictures)


def compare_text(rows: list[Row], of_what: str) -> str:
    """A line per row."""
    lines = [
        f"{row.label}: {_speed(row)}" + (f", {_quality(row)}" if told else "")
        for told, row in zip(_told(rows), rows, strict=True)
    ]
    return "\n".join([*lines, f"PSNR and SSIM of the {of_what} against the run without DiCache"])


def compare_sheet(rows: list[Row], pictures: list[Tensor] | None, video: bool = False) -> Tensor:
    """Side by side: the baseline and each setting, under each setting its difference, under the baseline the table.

    ``pictures`` holds ``(N, H, W, 3)`` in [0, 1] per row; the result is ``(N, H', W', 3)``. The frames of a video make
    one sheet ``(1, H', W', 3)`` with a few of them for each row. Without images it is the table alone.
    """
    if pictures is None:
        return _as_tensor([_table_alone(rows)])
    if video:
        pictures = [_frames(p) for p in pictures]
    return _as_tensor([_sheet(rows, [p[i].float().cpu() for p in pictures]) for i in range(len(pictures[0]))])


def _as_tensor(sheets: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(sheet) for sheet in sheets])).float() / 255


def _frames(frames: Tensor) -> Tensor:
    """The first, the last and some frames between them ``(1, 2H, 2W, 3)``; all of them where there are fewer."""
    chosen = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES))]
    blank = torch.zeros_like(frames[0])
    chosen += [blank] * (-len(chosen) % 2)
    rows = [torch.cat(chosen[i : i + 2], 1) for i in range(0, len(chosen), 2)]
    return torch.cat(rows)[None]


def _sheet(rows: list[Row], pictures: list[Tensor]) -> Image.Image:
    height, width = pictures[0].shape[:2]
    total = len(rows) * (width + GAP) + GAP
    captions = [(row.label, f"{row.seconds:.3g} s, {row.speedup:.2f}x") for row in rows]
    gain = f"x{DIFFERENCE_GAIN:g}"
    below = [("difference", gain if row.psnr is None else f"{gain}, {row.psnr:.1f} dB") for row in rows]
    font = _fitting([line for lines in captions + below for line in lines], width, max(11, total // LETTERS_ACROSS))
    caption = round(2.7 * font.size)
    sheet = Image.new("RGB", (total, 2 * (height + caption) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, picture in enumerate(pictures):
        left, middle = GAP + column * (width + GAP), caption + height
        _caption(draw, (left, 0), captions[column], font)
        sheet.paste(_image(picture), (left, caption))
        if column:
            _caption(draw, (left, middle), below[column], font)
            sheet.paste(_image(DIFFERENCE_GAIN * (picture - pictures[0]).abs()), (left, middle + caption))
    table = _table(rows, width, height + caption - GAP, font.size)
    sheet.paste(table, (GAP, caption + height + GAP))
    return sheet


def _caption(draw: ImageDraw.ImageDraw, at: tuple[int, int], lines: tuple[str, str], font: Font) -> None:
    for number, (line, ink) in enumerate(zip(lines, (INK, FAINT), strict=True)):
        draw.text((at[0], at[1] + font.size * (0.2 + 1.2 * number)), line, ink, font)


def _table(rows: list[Row], width: int, height: int, largest: float, speed: bool = False) -> Image.Image:
    """Two lines a row, its name and its numbers, in letters as large as fit."""
    numbers = [
        f"{row.computed:g}/{row.evaluations} {row.unit}" + (f", {_closeness(row)}" if told else "")
        for told, row in zip(_told(rows), rows, strict=True)
    ]
    if speed:
        numbers = [f"{row.seconds:.3g} s, {row.speedup:.2f}x, {more}" for row, more in zip(rows, numbers, strict=True)]
    lines = [line for row, more in zip(rows, numbers, strict=True) for line in (row.label, more)]
    font = _fitting(lines, width, min(largest, height / len(rows) / 3))
    table = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(table)
    for number, row in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        _caption(draw, (0, 3 * number * font.size), row, font)
    return table


def _closeness(row: Row) -> str:
    if row.failed:
        return "failed"
    return "no difference" if row.psnr is None else f"{row.psnr:.1f} dB, SSIM {row.ssim:.2f}"


def _table_alone(rows: list[Row]) -> Image.Image:
    size = 36
    sheet = Image.new("RGB", (960, round((3 * len(rows) + 1) * size)), PAPER)
    sheet.paste(_table(rows, 960 - 2 * size, 3 * len(rows) * size, size, speed=True), (size, size // 2))
    return sheet


def _fitting(lines: list[str], width: float, largest: float) -> Font:
    """The font in which the longest line fits into a width, no larger than ``largest``."""
    size = 100.0
    longest = max(ImageFont.load_default(size).getlength(line) for line in lines)
    return ImageFont.load_default(max(8, round(min(largest, 0.96 * size * width / longest))))


def _told(rows: list[Row]) -> list[bool]:
    """Whether the likeness of a row is told: the baseline has no difference from itself."""
    return [bool(number or row.failed) for number, row in enumerate(rows)]


def _speed(row: Row) -> str:
    return f"{row.seconds:.3g} s ({row.speedup:.2f}x), {row.computed:g} of {row.evaluations} {row.unit} computed"


def _quality(row: Row) -> str:
    if row.failed:
        return f"failed: {row.failed}"
    return "no difference" if row.psnr is None else f"PSNR {row.psnr:.1f} dB, SSIM {row.ssim:.3f}"


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray((picture.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().numpy())
