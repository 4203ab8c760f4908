"""Where a run's sigmas stand in the whole schedule, and how much of ``x`` is noise at each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..dicache_core import Lane, Schedule

BISECTIONS = 30
IMAGE_TO_IMAGE = {"IMG_TO_IMG", "IMG_TO_IMG_FLOW"}  # the host's names for models that put out the picture itself


def schedule_of(
    sigmas: Tensor, model_sampling: Any, lanes: tuple[Lane, ...] = (), of_pictures: bool = False
) -> Schedule:
    """The run's schedule, with the steps before and after it that other runs take.

    ``lanes`` are the calls that its sampler will make, where they are known, and ``of_pictures`` says whether forecasts
    are of what the model sees or of the direction that the sampler takes.

    A run that starts below the highest noise (a second expert, an image-to-image pass) continues a schedule: how many
    steps lie before it follows from the share of the noise levels it does not cover.
    """
    points = [float(s) for s in sigmas.tolist()]
    begin = _percent_of(points[0], model_sampling.percent_to_sigma)
    end = 1.0 if points[-1] == 0 else _percent_of(points[-1], model_sampling.percent_to_sigma)
    per_step = (end - begin) / (len(points) - 1)
    share = noise_share_of(model_sampling)
    if per_step <= 0:
        return Schedule(tuple(points), lanes=lanes, of_pictures=of_pictures, noise_share=share)
    # Some whole schedules (ddim_uniform) begin one step below the highest noise.
    before = round(begin / per_step) if begin / per_step >= 1.5 else 0
    return Schedule(tuple(points), before, round((1.0 - end) / per_step), lanes, of_pictures, share)


def noise_share_of(model_sampling: Any) -> Callable[[float], float]:
    """sigma -> the noise's share of ``x``, asked of the model's own way to mix noise and picture.

    A rectified flow's is sigma itself; where noise is added to a picture left whole it is ``sigma / (1 + sigma)``.
    """
    nothing, something = torch.zeros(1, 1), torch.ones(1, 1)

    @cache
    def share(sigma: float) -> float:
        at = torch.tensor([sigma])
        noise = abs(float(model_sampling.noise_scaling(at, something, nothing)))
        picture = abs(float(model_sampling.noise_scaling(at, nothing, something)))
        return noise / (noise + picture) if noise + picture > 0 else 0.0

    return share


def puts_out_pictures(model_sampling: Any) -> bool:
    """Whether what the model puts out is the picture itself, not a direction to it: nothing to forecast by."""
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
