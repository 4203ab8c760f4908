"""How like a picture is to the one without a cache, and what is like enough, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST_PSNR = 100.0  # of two equal pictures
LARGEST_SSIM = 1 - 1e-6


@dataclass(frozen=True)
class Likeness:
    """How like a picture is to the one without a cache.

    Slots:
        psnr: decibels, up to ``LARGEST_PSNR``; 0 where the picture failed.
        ssim: structural similarity, 1 where there is no difference; 0 where the picture failed.
    """

    psnr: float
    ssim: float

    @classmethod
    def of(cls, psnr: float, ssim: float) -> Likeness:
        """What was measured, infinite for no difference, NaN for no picture."""
        failed = math.isnan(psnr) or math.isnan(ssim)
        return cls(0.0, 0.0) if failed else cls(min(psnr, LARGEST_PSNR), min(ssim, 1.0))


@dataclass(frozen=True)
class Quality:
    """What a picture must be like, at least; ``psnr`` in decibels."""

    psnr: float
    ssim: float

    def headroom(self, found: Likeness) -> float:
        """Decibels above the nearer of the two bounds; negative below it.  1 - SSIM is taken as an error's share."""
        return min(found.psnr - self.psnr, _decibels(1 - found.ssim) - _decibels(1 - self.ssim))


# In words: hard to tell apart when laid over each other; side by side; the same picture with other details.
QUALITIES: dict[str, Quality] = {
    "looks the same": Quality(psnr=35.0, ssim=0.97),
    "very close": Quality(psnr=30.0, ssim=0.93),
    "close": Quality(psnr=25.0, ssim=0.85),
}


def _decibels(share: float) -> float:
    return -10 * math.log10(max(share, 1 - LARGEST_SSIM))
