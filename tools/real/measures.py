"""How close the images of a run are to those without a cache: PSNR, SSIM and, where it is installed, LPIPS."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

FULL_SCALE = 255.0
WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian, as published
K1, K2 = 0.01, 0.03
MOST_FRAMES = 16  # of a video, for what takes long to measure
DEFINITIONS = {
    "psnr": "decibels, 8 bits, of all frames together; full scale 255",
    "ssim": f"Wang et al. 2004: Gaussian of {WINDOW} pixels, sigma {SIGMA}, no padding; mean of R, G, B; "
    f"of a video {MOST_FRAMES} frames at most",
    "lpips": f"Zhang et al. 2018, net alex, version 0.1; of a video {MOST_FRAMES} frames at most",
}


def psnr(images: np.ndarray, reference: np.ndarray) -> float | None:
    """Decibels of (N, H, W, 3) in 0 to 255 against ``reference``; ``None`` where there is no difference at all."""
    error = np.mean([_square_error(*pair) for pair in zip(images, reference, strict=True)])
    return None if error == 0 else 10 * math.log10(FULL_SCALE**2 / error)


def _square_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean((one.astype(np.float32) - other.astype(np.float32)) ** 2))


def ssim(images: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity of (N, H, W, 3) in 0 to 255, 1 where there is no difference."""
    pairs = zip(some_frames(images), some_frames(reference), strict=True)
    return float(np.mean([_ssim(one.astype(np.float32), other.astype(np.float32)) for one, other in pairs]))


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Of two images (H, W, 3), no smaller than the window."""
    mean_1, mean_2 = _blurred(one), _blurred(other)
    variance_1, variance_2 = _blurred(one * one) - mean_1**2, _blurred(other * other) - mean_2**2
    covariance = _blurred(one * other) - mean_1 * mean_2
    c1, c2 = (K1 * FULL_SCALE) ** 2, (K2 * FULL_SCALE) ** 2
    above = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    below = (mean_1**2 + mean_2**2 + c1) * (variance_1 + variance_2 + c2)
    return float(np.mean(above / below))


def _blurred(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (H - 10, W - 10, 3): where the window lies in the image as a whole."""
    away = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(away**2) / (2 * SIGMA**2))
    for axis in (0, 1):
        length = image.shape[axis] - WINDOW + 1
        parts = (w * np.take(image, range(i, i + length), axis) for i, w in enumerate(weights / weights.sum()))
        image = sum(parts)
    return image


def some_frames(images: np.ndarray) -> np.ndarray:
    """All of a few frames; of many, ``MOST_FRAMES`` from the first to the last."""
    return images[np.linspace(0, len(images) - 1, min(len(images), MOST_FRAMES)).round().astype(int)]


@cache
def lpips_measure() -> Callable[[np.ndarray, np.ndarray], float] | None:
    """LPIPS of (N, H, W, 3) in 0 to 255, on the CPU; ``None`` where the package ``lpips`` is not installed."""
    if importlib.util.find_spec("lpips") is None:
        return None
    import lpips
    import torch

    network = lpips.LPIPS(net="alex", verbose=False)

    def as_tensor(image: np.ndarray) -> Any:
        """(1, 3, H, W) in -1 to 1."""
        return torch.from_numpy(image.astype(np.float32) / (FULL_SCALE / 2) - 1).movedim(-1, 0)[None]

    def measure(images: np.ndarray, reference: np.ndarray) -> float:
        pairs = zip(some_frames(images), some_frames(reference), strict=True)
        with torch.no_grad():
            return float(np.mean([network(as_tensor(one), as_tensor(other)).item() for one, other in pairs]))

    return measure
