"""What reference runs put out at each call of the model, kept in main memory for the search of plans."""

from __future__ import annotations

from typing import Any

import torch
from comfy.patcher_extension import WrapperExecutor
from torch import Tensor

from ..dicache_core.tuning.plan_finder import MOST_BYTES, NoSearch, PlanFinder


class ReferenceOutputs:
    """``PREDICT_NOISE`` wrapper of a run in which everything is computed: the direction ``(x - denoised) / sigma`` of
    each call, with the guidance in it, ``(B, C, ...)`` float16 in main memory."""

    def __init__(self, finder: PlanFinder) -> None:
        self.finder = finder
        self._sigmas: list[float] = []
        self._outputs: list[Tensor] = []

    def __call__(self, executor: WrapperExecutor, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        denoised = executor(x, timestep, *args, **kwargs)
        if self.finder.no_search is None:
            self._keep(x, float(timestep.flatten()[0]), denoised)
        return denoised

    def _keep(self, x: Tensor, sigma: float, denoised: Tensor) -> None:
        if x.is_nested:
            self._give_up(NoSearch.OUTPUTS)
        elif sigma > 0:  # after the end of every schedule there is no direction to go
            self._sigmas.append(sigma)
            self._outputs.append(((x - denoised) / sigma).to("cpu", torch.float16))
            if sum(output.nbytes for output in self._outputs) > MOST_BYTES:
                self._give_up(NoSearch.MEMORY)

    def _give_up(self, reason: NoSearch) -> None:
        self.finder.no_search = reason
        self.end_run()

    def end_run(self) -> None:
        """Hand over what a run put out, and begin anew."""
        if self.finder.no_search is None:
            self.finder.add_reference(self._sigmas, self._outputs)
        self._sigmas, self._outputs = [], []
