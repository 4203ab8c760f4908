"""Dynamic cache trajectory alignment (DiCache, arXiv 2508.17356, section 3.3)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import CacheConfig
from ..measure import distance, ratio
from ..observation import Observation
from ..predictor import Predictor, Space
from ..storage import Stored


@dataclass(frozen=True, slots=True)
class Anchor:
    """A computed step: its residual ``(T, D)`` and its probe residual ``(K, D)``."""

    residual: Stored
    probe_residual: Tensor


class TrajectoryAlignment(Predictor):
    """``R = R_a + gamma (R_b - R_a)`` with ``gamma = clip(mean|q - q_a| / mean|q_b - q_a|, 1, gamma_max)``.

    ``a`` and ``b`` are the older and the newer of the last two computed steps, ``q`` is the probe residual ``hm - h0``:
    the stack is taken to have moved as far along its line as the probe did along its own.  With one anchor, or where
    the probe did not move between the anchors, the newest residual is reused as it is (``gamma = 1``).
    """

    space = Space.RESIDUAL
    residuals = 2
    probes = 2

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[Anchor] = deque(maxlen=2)
        self.gamma = 1.0
        self.span: float | None = None  # sum|q_b - q_a|: fetched once, it stays as long as the anchors do

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        if len(self.anchors) < 2:
            return []
        moved = distance(seen.probe_residual, self.anchors[0].probe_residual)
        return [moved, self._distance_of_anchors()] if self.span is None else [moved]

    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        if len(sums) == 2:
            self.span = sums[1]
        gamma = ratio(sums[0], self.span) if sums else math.inf
        self.gamma = min(max(gamma, 1.0), self.config.gamma_max) if math.isfinite(gamma) else 1.0
        return self.gamma

    def record(self, seen: Observation, value: Tensor) -> None:
        self.anchors.append(Anchor(self.storage.keep(value), seen.probe_residual))
        self.span = None

    def forecast(self, out: Tensor) -> None:
        residuals = [self.storage.load(stored) for stored in self.stored]
        if len(residuals) == 1:
            out.copy_(*residuals)
        else:
            torch.lerp(*residuals, self.gamma, out=out)

    def preview(self, seen: Observation, out: Tensor) -> None:
        residuals = [self.storage.load(stored) for stored in self.stored]
        if len(residuals) < 2:
            out.copy_(residuals[-1])
            return
        moved = distance(seen.probe_residual, self.anchors[0].probe_residual)
        gamma = (
            torch.div(moved, self._distance_of_anchors()).nan_to_num(1.0, 1.0, 1.0).clamp(1.0, self.config.gamma_max)
        )
        out.copy_(residuals[0] + gamma * (residuals[1].float() - residuals[0]))

    @property
    def held(self) -> Sequence[Tensor]:
        return [t for anchor in self.anchors for t in (anchor.probe_residual, *anchor.residual.parts)]

    @property
    def stored(self) -> Sequence[Stored]:
        return [anchor.residual for anchor in self.anchors]

    def _distance_of_anchors(self) -> Tensor:
        older, newer = self.anchors
        return distance(newer.probe_residual, older.probe_residual)
