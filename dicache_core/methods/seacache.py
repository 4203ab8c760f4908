"""SeaCache (Chung et al., arXiv 2602.18993): the input's movement, seen through the filter that keeps what is no noise.

The authors filter the modulated input of the first block on its grid of tokens, before each comparison of a step with
the one before.  ``seacache_latent`` filters the latent itself in its place: it has the grid, no block has to run, and
it works with models whose modulated input is not known.

For FLUX and Wan the authors' code compares the second step with the unfiltered first one, so that it is computed
whatever the threshold; for HunyuanVideo both are filtered, as in the paper and here.
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
CHANNELS_AT_ONCE = 64  # the spectrum of all channels of a large video would take gigabytes


@indicator("seacache")
class SeaCache(MeasuredIndicator):
    """``d = mean|P f - P' f'| / mean|P' f'|``, ``f`` being the modulated input of the first block, here and one before.

    ``P`` is the optimal linear denoiser ``G = a S / (a^2 S + b^2)`` for a signal of spectrum ``S = f^-p``, ``a`` and
    ``b`` being the shares of signal and noise at this step: one gain per axis, multiplied, of mean 1 over all
    frequencies.  With that mean only the ratio ``b / a`` counts.  Filtered is the whole grid, and compared are its
    probe tokens.
    """

    stage = Stage.ENTER
    wants_modulated = True
    wants_grid = True
    probes = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.previous: Tensor | None = None  # P f, (K, D)

    @classmethod
    def view(cls, modulated: Tensor, step: ModelCall) -> Tensor:
        """``P f`` of ``f`` ``([T,] H, W, D)``, in its dtype."""
        on_grid = filtered(modulated.movedim(-1, 0), noise_to_signal(step))
        return on_grid.movedim(0, -1).to(modulated.dtype)

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        return rel_l1_sums(obs.modulated, self.previous)

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        return rel_l1(sums)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.previous is None else [self.previous]

    def follow(self, obs: Observation) -> None:
        self.previous = obs.modulated


@indicator("seacache_latent")
class SeaCacheLatent(MeasuredIndicator):
    """The same of the latent ``x``: ``d = mean|P x - P' x'| / mean|P' x'|``."""

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


def filtered(x: Tensor, noise: float) -> Tensor:
    """``P x`` of ``x`` ``(C, H, W)`` or ``(C, T, H, W)``, float32; other layouts along all axes but the first."""
    power = VIDEO_POWER if x.ndim > 3 else PICTURE_POWER
    axes = tuple(range(1, x.ndim))
    gains = []
    for axis in axes:
        shape = [1] * x.ndim
        shape[axis] = x.shape[axis]
        gains.append(torch.tensor(gain(x.shape[axis], power, noise), device=x.device).view(shape))
    return torch.cat([_through(gains, part, axes) for part in x.split(CHANNELS_AT_ONCE)])


def _through(gains: Sequence[Tensor], x: Tensor, axes: tuple[int, ...]) -> Tensor:
    spectrum = torch.fft.fftn(x.float(), dim=axes)
    for along in gains:
        spectrum = spectrum * along
    return torch.fft.ifftn(spectrum, dim=axes).real


# First and last step computed, as in the authors' code; their thresholds are for the first block, at about 2x.
# The tiny models of the testbed compute half of their steps at nearly the same: 0.29 (Flux), 0.22 (HunyuanVideo), 0.2.
THRESHOLDS = everywhere(0.2, flux=0.3, chroma=0.3)
POLICIES = (
    NamedPolicy(
        "seacache",
        "SeaCache",
        Group.EVERY_STEP,
        when="the time-modulated input, seen through a filter that drops its noise, changed little",
        how="the last computed result",
        policy=Policy(SeaCache.name, Reuse.name, warmup_steps=1, thresholds=THRESHOLDS),
        source=Source("SeaCache", "2602.18993"),
    ),
    NamedPolicy(
        "seacache_latent",
        "SeaCache, latent",
        Group.EVERY_STEP,
        when="the latent, seen through a filter that drops its noise, changed little",
        how="the last computed result",
        policy=Policy(SeaCacheLatent.name, Reuse.name, warmup_steps=1, thresholds=THRESHOLDS),
        source=Source("SeaCache", "2602.18993"),
    ),
)
