"""A comparison in numbers and side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..dicache_core import Outcome, finite

DIFFERENCE_GAIN = 4.0  # differences are small; four times as strong they can be seen
GAP = 8
PAPER, INK, FAINT = (29, 31, 36), (232, 232, 234), (150, 153, 162)
SSIM_WINDOW = 11  # as published; smaller only where a picture is


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Slots:
        seconds, speedup: the sampler's time, and that of the run without a cache over it.
        computed, steps: steps in which the whole model ran, and all of them.
        psnr: decibels against the run without a cache; ``None`` where there is no difference at all.
        ssim: structural similarity to it, 1 where there is no difference.
        identical: whether there is no difference at all.
        failed: why there is nothing to measure, in words; ``psnr`` and ``ssim`` are ``None`` then.
    """

    label: str
    seconds: float
    speedup: float
    computed: int
    steps: int
    psnr: float | None
    ssim: float | None
    identical: bool
    failed: str | None = None


def compare_rows(outcomes: list[Outcome], seen: list[Tensor], steps: int) -> list[Row]:
    """Each outcome against the first; ``seen`` is what is compared, one ``(N, H, W, C)`` in any range per outcome."""
    baseline = outcomes[0]
    nothing_to_compare_with = None if seen[0].isfinite().all() else "the run without DiCache failed"
    rows = []
    for outcome, pictures in zip(outcomes, seen, strict=True):
        failed = why_failed(pictures) or nothing_to_compare_with
        identical = failed is None and torch.equal(pictures, seen[0])
        psnr, ssim = (None, 1.0) if identical else (None, None) if failed else similarity(pictures, seen[0])
        computed = outcome.statistics.computed if outcome.statistics else steps
        speedup = baseline.seconds / outcome.seconds
        rows.append(
            Row(outcome.label, outcome.seconds, speedup, computed, steps, finite(psnr), ssim, identical, failed)
        )
    return rows


def why_failed(pictures: Tensor) -> str | None:
    """What is wrong with ``(N, H, W, C)`` in which not every number is finite; ``None`` where all is well."""
    share = 1.0 - pictures.isfinite().float().mean().item()
    return f"{max(share, 0.01):.0%} of the result is NaN or infinite" if share else None


def similarity(pictures: Tensor, reference: Tensor) -> tuple[float, float]:
    """PSNR in decibels and SSIM of ``(N, H, W, C)`` against ``reference``, whose own range counts as full scale."""
    try:
        from kornia.metrics import psnr, ssim
    except ImportError as error:
        raise ImportError("DiCache Compare measures with kornia, which is missing: pip install kornia") from error
    low, high = reference.min().item(), reference.max().item()
    scale = (high - low) or 1.0
    a, b = (((x.float().cpu() - low) / scale).movedim(-1, 1) for x in (pictures, reference))  # (N, C, H, W)
    window = min(SSIM_WINDOW, (min(a.shape[-2:]) - 1) | 1)  # odd, and no wider than the picture
    return psnr(a, b, 1.0).item(), ssim(a, b, window, 1.0).mean().item()


def as_pictures(samples: Tensor) -> Tensor:
    """A latent ``(B, C, [T,] H, W)`` as ``(N, H, W, C)``, frames counted as pictures."""
    if samples.ndim == 5:
        samples = samples.movedim(2, 1).flatten(0, 1)
    return samples.movedim(1, -1)


def compare_text(rows: list[Row], of_what: str) -> str:
    """A line per row, for nodes whose text has no fixed width."""
    told = [bool(n or row.failed) for n, row in enumerate(rows)]  # the baseline has no difference from itself
    lines = [
        f"{row.label}: {_speed(row)}" + (f", {_quality(row)}" if t else "") for t, row in zip(told, rows, strict=True)
    ]
    return "\n".join([*lines, f"PSNR and SSIM of the {of_what} against the run without DiCache"])


def compare_sheet(rows: list[Row], pictures: list[Tensor]) -> Tensor:
    """Side by side: the baseline and each setting, and under each setting its difference from the baseline.

    ``pictures`` holds ``(N, H, W, 3)`` in [0, 1] per row; the result is ``(N, H', W', 3)``.
    """
    sheets = [_sheet(rows, [p[i].float().cpu() for p in pictures]) for i in range(len(pictures[0]))]
    return torch.from_numpy(np.stack(sheets)).float() / 255


def _sheet(rows: list[Row], pictures: list[Tensor]) -> np.ndarray:
    height, width = pictures[0].shape[:2]
    size = max(11, min(width // 16, 36))
    font, caption = ImageFont.load_default(size), 3 * size
    sheet = Image.new("RGB", (len(rows) * (width + GAP) + GAP, 2 * (height + caption) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
        left = GAP + column * (width + GAP)
        draw.text((left, size // 4), f"{row.label}\n{row.seconds:.3g} s, {row.speedup:.2f}x", INK, font)
        sheet.paste(_image(picture), (left, caption))
        if column:
            below = caption + height
            draw.text((left, below + size // 4), f"difference x{DIFFERENCE_GAIN:g}\n{_quality(row)}", FAINT, font)
            difference = DIFFERENCE_GAIN * (picture - pictures[0]).abs()
            sheet.paste(_image(difference), (left, below + caption))
    return np.asarray(sheet)


def _speed(row: Row) -> str:
    return f"{row.seconds:.3g} s ({row.speedup:.2f}x), {row.computed} of {row.steps} steps computed"


def _quality(row: Row) -> str:
    if row.failed:
        return f"failed: {row.failed}"
    return "no difference" if row.psnr is None else f"PSNR {row.psnr:.1f} dB, SSIM {row.ssim:.3f}"


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray((picture.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().numpy())
