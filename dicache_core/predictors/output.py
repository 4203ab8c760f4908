"""Predictors of the model's output ``v`` ``(C, ...)``: latents, about 1/50 of the memory of hidden states.

Their anchors stay beside the model whatever the storage says, as they are too small to be worth a transfer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..predictor import Predictor, Space
from .line import OutputAnchor, hindsight


class OutputLine(Predictor):
    """``v = v_b + w g (v_b - v_a)`` with ``g = (sigma - sigma_b) / (sigma_b - sigma_a)``: a shrunk line.

    ``w`` is learnt by self-audit: whenever a step is computed, the line could have forecast it.  With ``p`` the change
    it would have forecast and ``d`` the true one, ``w = clip(<p, d> / <p, p>, 0, 1)`` is the best factor in hindsight,
    and serves until the next computed step.  It stays on the device: no sync.
    """

    space = Space.OUTPUT
    sees_noise = False
    FIRST_SHRINKAGE = 0.6  # before the first audit, which needs three computed steps

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[OutputAnchor] = deque(maxlen=2)  # the newest last
        self.shrinkage: Tensor | None = None  # w, 0-d float32
        self.reach = 0.0  # g

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        self.reach = self._reach(seen)
        return 1.0 + self.reach

    def record(self, seen: Observation, value: Tensor) -> None:
        if len(self.anchors) == 2 and (reach := self._reach(seen)) != 0:
            older, newer = (anchor.value.float() for anchor in self.anchors)
            forecast, true = reach * (newer - older), value.float() - newer
            self.shrinkage = hindsight(forecast, true)
        if self.anchors and self.anchors[-1].place <= seen.step.sigma:
            self.anchors.pop()  # the same moment again: two anchors there would have no slope between them
        self.anchors.append(OutputAnchor(value, seen.step.sigma))

    def forecast(self, out: Tensor) -> None:
        if len(self.anchors) == 1:
            out.copy_(self.anchors[0].value)
            return
        older, newer = (anchor.value for anchor in self.anchors)
        shrinkage = self.FIRST_SHRINKAGE if self.shrinkage is None else self.shrinkage
        out.copy_(newer + (shrinkage * self.reach) * (newer.float() - older))

    @property
    def held(self) -> Sequence[Tensor]:
        return [anchor.value for anchor in self.anchors]

    def _reach(self, seen: Observation) -> float:
        if len(self.anchors) < 2:
            return 0.0
        older, newer = self.anchors
        return (seen.step.sigma - newer.place) / (newer.place - older.place)
