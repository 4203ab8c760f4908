"""What the sampler is given at each of its calls, and the streams that it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy.patcher_extension import WrapperExecutor
from torch import Tensor

from ..dicache_core import ForwardPass
from ..dicache_core.image_error import GuidedPart, ImageErrorEstimator
from .streams import COND


class GuidedEvaluations:
    """Hands every guided output to the estimator, beside what each stream of it was displaced by.

    The guider's own scale is the first guess of how it puts the streams together.
    """

    def __init__(self, estimator: ImageErrorEstimator) -> None:
        self.estimator = estimator
        self._passes: list[tuple[ForwardPass, tuple[int, ...], Tensor]] | None = None  # of the present evaluation

    def see(self, options: Mapping[str, Any], cache: ForwardPass, denoised: Tensor) -> None:
        """A pass of the model ended with ``denoised`` ``(N, C, ...)``."""
        if self._passes is not None:  # outside of an evaluation nothing would ever clear them
            self._passes.append((cache, tuple(options["cond_or_uncond"]), denoised))

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        self._passes = []
        try:
            guided = executor(*args, **kwargs)
            if self._passes:
                sigma = self._passes[0][0].step.sigma
                self.estimator.add(guided, self._parts(sigma, scale_of(executor.class_obj)))
            return guided
        finally:
            self._passes = None

    def _parts(self, sigma: float, scale: float) -> list[GuidedPart]:
        """Of the passes at ``sigma``: what guidance looks at elsewhere is no part of a sum."""
        passes = [seen for seen in self._passes if seen[0].step.sigma == sigma]
        kinds = [kind for _, kinds, _ in passes for kind in kinds]
        share = {kind: (scale if kind == COND else 1.0 - scale) / kinds.count(kind) for kind in kinds}
        parts = []
        for cache, conds, denoised in passes:
            rows = len(denoised) // len(conds)
            parts += cache.parts(denoised, [share[kind] for kind in conds for _ in range(rows)])
        return parts


def scale_of(guider: Any) -> float:
    """The guidance scale of ComfyUI's own guiders; 1 of one that keeps it elsewhere."""
    scale = getattr(guider, "cfg", 1.0)
    return float(scale) if isinstance(scale, (int, float)) else 1.0
