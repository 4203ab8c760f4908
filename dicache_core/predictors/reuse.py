"""Plain reuse: the last computed residual again, as first-block caching and TeaCache do."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from .base import Predictor, Space


class Reuse(Predictor):
    """``R = R_b``."""

    space = Space.RESIDUAL

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.residual: Tensor | None = None  # (T, D)

    @property
    def ready(self) -> bool:
        return self.residual is not None

    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        return 1.0

    def record(self, seen: Observation, value: Tensor) -> None:
        self.residual = value

    def forecast(self, out: Tensor) -> None:
        out.copy_(self.residual)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.residual is None else [self.residual]
