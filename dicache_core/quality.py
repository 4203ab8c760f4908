"""How close an image is to the one without a cache: measured, wanted at least, and estimated in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Estimates (``ImageErrorEstimator``) up to which an image is called so; beyond, it may be off visibly.  How often that
# is right, and on which images these were found: docs/closeness.md, tools/bench/results/risk.json.
CLOSENESS = {"very close": 0.012, "close": 0.04}
VISIBLE = "visible"


def closeness_of(image_error: float | None) -> str | None:
    """ "very close", "close" or "visible" for an estimate of the image's error; ``None`` where nobody knows."""
    if image_error is None:
        return None
    return next((word for word, most in CLOSENESS.items() if image_error <= most), VISIBLE)


LARGEST_PSNR = 100.0  # of two equal images
LARGEST_SSIM = 1 - 1e-6


@dataclass(frozen=True)
class Similarity:
    """How like an image is to the one without a cache.

    Attributes:
        psnr: decibels, up to ``LARGEST_PSNR``; 0 where the image failed.
        ssim: structural similarity, 1 where there is no difference; 0 where the image failed.
    """

    psnr: float
    ssim: float

    @classmethod
    def of(cls, psnr: float, ssim: float) -> Similarity:
        """What was measured, infinite for no difference, NaN for no image."""
        failed = math.isnan(psnr) or math.isnan(ssim)
        return cls(0.0, 0.0) if failed else cls(min(psnr, LARGEST_PSNR), min(ssim, 1.0))


@dataclass(frozen=True)
class QualityBound:
    """What an image must be like, at least; ``psnr`` in decibels."""

    psnr: float
    ssim: float

    def headroom(self, found: Similarity) -> float:
        """Decibels above the nearer of the two bounds; negative below it.  1 - SSIM is taken as an error's share."""
        return min(found.psnr - self.psnr, _decibels(1 - found.ssim) - _decibels(1 - self.ssim))


# In words: hard to tell apart when laid over each other; side by side; the same image with other details.
QUALITIES: dict[str, QualityBound] = {
    "looks the same": QualityBound(psnr=35.0, ssim=0.97),
    "nearly the same": QualityBound(psnr=30.0, ssim=0.93),
    "similar": QualityBound(psnr=25.0, ssim=0.85),
}


def _decibels(share: float) -> float:
    return -10 * math.log10(max(share, 1 - LARGEST_SSIM))
