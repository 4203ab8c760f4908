"""Where a run's sigmas stand in the whole schedule, and whether its sampler keeps to them."""

from __future__ import annotations

from collections.abc import Callable

from comfy.model_patcher import ModelPatcher
from comfy.samplers import Sampler
from torch import Tensor

from ..dicache_core import Schedule

BISECTIONS = 30
# The host's names of the functions behind dpm_fast and dpm_adaptive.
OWN_SIGMAS = ("dpm_fast_function", "dpm_adaptive_function")


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
    # Some whole schedules (ddim_uniform) begin one step below the highest noise.
    before = round(begin / per_step) if begin / per_step >= 1.5 else 0
    return Schedule(tuple(points), before, round((1.0 - end) / per_step))


def keeps_to_schedule(sampler: Sampler) -> bool:
    """Whether a sampler evaluates along the schedule it is given.

    dpm_fast and dpm_adaptive place their own sigmas, so neither the warm-up nor the last step can be found, and the
    latter steers by the difference of two evaluations, which a reused one would falsify.
    """
    function = getattr(sampler, "sampler_function", None)  # only the host's KSAMPLER has one
    return getattr(function, "__name__", "") not in OWN_SIGMAS


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
