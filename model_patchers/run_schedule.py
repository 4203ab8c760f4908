"""Where a run's sigmas stand in the whole schedule, and how much of ``x`` is noise at each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..dicache_core import CallSequence, same_sigma
from ..dicache_core.schedule import Schedule
from .sampler_probe import SamplerProfile

BISECTIONS = 30
LONGEST = 10_000  # steps that anybody samples in; a run that seems to be a part of more stands alone
IMAGE_TO_IMAGE = {"IMG_TO_IMG", "IMG_TO_IMG_FLOW"}  # the host's names for models that put out the image itself


def schedule_of(sigmas: Tensor, model_sampling: Any, profile: SamplerProfile, values: int) -> Schedule:
    """The run's schedule, with the steps before and after it that other runs take; ``profile`` is its sampler's,
    ``values`` as in ``Schedule``.

    A run that starts below the highest noise (a second expert, an image-to-image pass) continues a schedule: how many
    steps lie before it follows from the share of the noise levels it does not cover.
    """
    points = noise_levels(sigmas.tolist(), profile.sequences)
    begin = _percent_of(points[0], model_sampling.percent_to_sigma)
    end = 1.0 if points[-1] == 0 else _percent_of(points[-1], model_sampling.percent_to_sigma)
    per_step = (end - begin) / (len(points) - 1)
    before = after = 0
    if per_step > 0 and 1 / per_step <= LONGEST:
        # Some whole schedules (ddim_uniform) begin one step below the highest noise.
        before = round(begin / per_step) if begin / per_step >= 1.5 else 0
        after = round((1.0 - end) / per_step)
    return Schedule(
        tuple(points), before, after, profile.sequences, profile.forecasts_denoised, profile.known,
        noise_share_of(model_sampling), values,
    )  # fmt: skip


def noise_levels(sigmas: list[float], sequences: tuple[CallSequence, ...]) -> list[float]:
    """The noise levels of a run's steps, falling.

    The host's list falls by itself, but for unsampling and for a run that goes back to more noise halfway: their steps
    are the intervals between the same levels.  Samplers with a schedule of their own are handed a list that says
    nothing, such as one that begins without noise; there it is their calls that say it.
    """
    calls = [sigma for sequence in sequences for sigma in sequence.sigmas]
    low, high = min(sigmas), max(sigmas)
    within = sum(low < sigma <= high or same_sigma(sigma, high) for sigma in calls)
    says_nothing = 2 * within < len(calls) or (calls and same_sigma(sigmas[0], 0.0))
    return sorted([*set(calls), low] if says_nothing else sigmas, reverse=True)


def noise_share_of(model_sampling: Any) -> Callable[[float], float]:
    """sigma -> the noise's share of ``x``, asked of the model's own way to mix noise and image.

    A rectified flow's is sigma itself; where noise is added to an image left whole it is ``sigma / (1 + sigma)``.
    """
    nothing, something = torch.zeros(1, 1), torch.ones(1, 1)

    @cache
    def share(sigma: float) -> float:
        at = torch.tensor([sigma])
        noise = abs(float(model_sampling.noise_scaling(at, something, nothing)))
        picture = abs(float(model_sampling.noise_scaling(at, nothing, something)))
        return noise / (noise + picture) if noise + picture > 0 else 0.0

    return share


def predicts_image(model_sampling: Any) -> bool:
    """Whether what the model puts out is the image itself, not a direction to it: nothing to forecast by."""
    return not IMAGE_TO_IMAGE.isdisjoint(cls.__name__ for cls in type(model_sampling).__mro__)


def _percent_of(sigma: float, percent_to_sigma: Callable[[float], float]) -> float:
    """Share of the schedule, in [0, 1], at which ``sigma`` is reached; the host only offers the inverse."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if float(percent_to_sigma(middle)) > sigma:
            low = middle
        else:
            high = middle
    return low if low > 1e-3 else 0.0
