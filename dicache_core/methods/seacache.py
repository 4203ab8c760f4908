"""SeaCache (Chung et al., arXiv 2602.18993): the input's movement, seen through the filter that keeps what is no noise.

The authors filter the modulated input of the first block on its grid of tokens.  Here it is the latent itself: the
filter is derived for it, it has the grid, and no block has to run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..reductions import rel_l1, rel_l1_sums
from ..schedule import ModelCall
from .base import MeasuredIndicator, Stage
from .indicators import indicator
from .reuse import Reuse

PICTURE_POWER = 2.0  # natural images have a power spectrum of 1 / f^2, videos about 1 / f^3 along each axis
VIDEO_POWER = 3.0
EDGE = 1e-6  # keeps the ratio of noise to signal finite at both ends of the schedule


@indicator("seacache")
class SeaCache(MeasuredIndicator):
    """``d = mean|P x - P' x'| / mean|P' x'|`` of the filtered latents of this step and the one before.

    ``P`` is the optimal linear denoiser ``G = a S / (a^2 S + b^2)`` for a signal of spectrum ``S = f^-p``, ``a`` and
    ``b`` being the shares of signal and noise at this step: one gain per axis, multiplied, of mean 1 over all
    frequencies.  With that mean only the ratio ``b / a`` counts.
    """

    stage = Stage.INPUT

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.current: Tensor | None = None  # P x, (C, ...) float32
        self.previous: Tensor | None = None

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        self.current = filtered(obs.latent, noise_to_signal(obs.step))
        return rel_l1_sums(self.current, self.previous)

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        return rel_l1(sums)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.previous is None else [self.previous]

    def follow(self, obs: Observation) -> None:
        looked = self.current is not None  # a step whose decision was known beforehand was not measured
        self.previous = self.current if looked else filtered(obs.latent, noise_to_signal(obs.step))
        self.current = None


def noise_to_signal(step: ModelCall) -> float:
    """``b / a``: for rectified flow ``sigma / (1 - sigma)``."""
    share = min(max(step.schedule.noise_share(step.sigma), EDGE), 1 - EDGE)
    return share / (1 - share)


def gain(size: int, power: float, noise: float) -> list[float]:
    """The filter along an axis of ``size`` values, per frequency as in a Fourier transform, of mean 1.

    ``S / (S + n^2)`` with ``S = f^-power``, so 1 at frequency 0.
    """
    frequencies = [min(i, size - i) / size for i in range(size)]
    gains = [1 / (1 + noise * noise * f**power) for f in frequencies]
    return [g * size / sum(gains) for g in gains]


def filtered(latent: Tensor, noise: float) -> Tensor:
    """``P x`` of a latent ``(C, H, W)`` or ``(C, T, H, W)``, float32; other layouts along all axes but the first."""
    power = VIDEO_POWER if latent.ndim > 3 else PICTURE_POWER
    spectrum = torch.fft.fftn(latent.float(), dim=tuple(range(1, latent.ndim)))
    for axis in range(1, latent.ndim):
        shape = [1] * latent.ndim
        shape[axis] = latent.shape[axis]
        along = torch.tensor(gain(latent.shape[axis], power, noise), device=latent.device)
        spectrum = spectrum * along.view(shape)
    return torch.fft.ifftn(spectrum, dim=tuple(range(1, latent.ndim))).real


# First and last step computed, as in the authors' code; their thresholds are for the first block's input.
POLICIES = (
    NamedPolicy(
        "seacache",
        "SeaCache",
        Group.EVERY_STEP,
        when="the latent, seen through a filter that drops its noise, changed little",
        how="the last computed result",
        policy=Policy(SeaCache.name, Reuse.name, warmup_steps=1, thresholds=everywhere(0.2, flux=0.3, chroma=0.3)),
        source=Source("SeaCache", "2602.18993"),
    ),
)
