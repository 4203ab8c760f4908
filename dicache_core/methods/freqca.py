"""FreqCa (Liu et al., "Frequency-aware Caching", arXiv 2510.08669): low frequencies reused, high ones forecast."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..policy import Group, NamedPolicy, Policy, Source
from .extrapolation import Extrapolation
from .hicache import hermite2
from .planned import FixedInterval
from .predictors import predictor

CONTRACTION = 0.71
CUTOFF = 0.1  # of the highest frequency


def low_frequencies(x: Tensor) -> Tensor:
    """What of ``x`` ``(T, D)`` changes slowly along the tokens, float32."""
    spectrum = torch.fft.rfft(x.float(), dim=0)
    kept = int(CUTOFF * (len(x) // 2)) + 1  # frequencies 0 to the cutoff
    spectrum[kept:] = 0
    return torch.fft.irfft(spectrum, n=len(x), dim=0)


@predictor("freqca")
class FreqCa(Extrapolation):
    """``R = low(R_b) + high(F)`` with ``F`` HiCache's forecast of second order, with a contraction of its own.

    Bands are split along the row of tokens, as the authors do for Qwen-Image; for Flux they use a cosine transform on
    the grid, which a residual ``(T, D)`` does not tell.  What they call cumulative residual feature is the residual.
    """

    residuals = 3
    solver = staticmethod(partial(hermite2, contraction=CONTRACTION))

    def forecast(self, out: Tensor) -> None:
        super().forecast(out)
        newest = self.shelf.load(self.anchors[-1].residual)
        out.sub_(low_frequencies(out.float() - newest).to(out.dtype))


POLICIES = (
    NamedPolicy(
        "freqca",
        "FreqCa",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="low frequencies as they last were, high ones along Hermite polynomials",
        policy=Policy(FixedInterval.name, FreqCa.name, interval=6, warmup_steps=3),
        source=Source("FreqCa", "2510.08669"),
    ),
)
