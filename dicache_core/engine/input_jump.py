"""Whether what a stream sees is one image that goes on from call to call, or another one each time.

Tiles that move from step to step, and whatever else shows the model another part of the image under the same cond and
noise level, would be forecast from outputs of other places.  What the sampler does to ``x`` between two of its
evaluations is seen there, whatever sampler it is, with its noise and its masks: a part of ``x`` that stays where it is
goes about as far as the whole, while between two parts lies all of their noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SAMPLES = 4096  # values of each row that are looked at: enough for a root mean square to 2%
SLACK = 2.5  # how much farther than the whole a part may go: 1.2 times was the most that areas and windows went
FLOOR = 1 / 4  # of the rms of x: guidance that blurs its own input (SAG) moved by up to 0.17 of it


def subsample(rows: Tensor) -> Tensor:
    """Evenly spread values of each row, ``(N, ...) -> (N, K)``, an own copy in float32."""
    flat = rows.detach().flatten(1)
    return flat[:, :: _stride(flat.shape[1])].to(torch.float32, copy=True)


def subsample_bytes(values: int) -> int:
    """What is kept of a row of ``values``: less than 32 KiB, whatever its size."""
    return len(range(0, values, _stride(values))) * torch.float32.itemsize


def _stride(values: int) -> int:
    return max(1, values // SAMPLES)


class InputDistanceBound:
    """How far the ``x`` of a sampler goes from one evaluation to the next."""

    def __init__(self) -> None:
        self._last: Tensor | None = None

    def next(self, x: Tensor) -> Tensor:
        """How far a part of ``x`` ``(B, ...)`` may be from where it was, as an rms, 0-d; infinity at the beginning."""
        now, last = subsample(x), self._last
        self._last = now
        if last is None or last.shape != now.shape:
            return torch.full((), math.inf, device=x.device)
        return SLACK * _largest_rms(now - last) + FLOOR * _largest_rms(now)


def jumps(now: Tensor, before: Tensor, max_distance: Tensor) -> Tensor:
    """1 where subsamples ``(K,)`` are farther apart than ``max_distance``, else 0; 0-d float32."""
    return ((now - before).square().mean().sqrt() > max_distance.to(now.device)).float()


def _largest_rms(rows: Tensor) -> Tensor:
    return rows.square().mean(1).amax().sqrt()
