"""Where a run's sigmas stand in the whole schedule."""

from __future__ import annotations

from collections.abc import Callable

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..dicache_core import Schedule

BISECTIONS = 30


def schedule_of(sigmas: Tensor, model: ModelPatcher) -> Schedule:
    """The run's schedule, with the steps before and after it that other runs take.

    A run that starts below the highest noise (a second expert, an image-to-image pass) continues a schedule: how many
    steps lie before it follows from the share of the noise levels it does not cover.
    """
    points = [float(s) for s in sigmas.tolist()]
    sampling = model.get_model_object("model_sampling")
    begin = _percent_of(points[0], sampling.percent_to_sigma)
    end = 1.0 if points[-1] == 0 else _percent_of(points[-1], sampling.percent_to_sigma)
    per_step = (end - begin) / (len(points) - 1)
    if per_step <= 0:
        return Schedule(tuple(points))
    return Schedule(tuple(points), round(begin / per_step), round((1.0 - end) / per_step))


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
