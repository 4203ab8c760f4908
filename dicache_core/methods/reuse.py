"""Plain reuse: the last computed residual again, as first-block caching and TeaCache do, or the last output."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..engine.storage import Stored
from ..observation import Observation
from .base import Predictor, Space
from .predictors import predictor


@predictor("reuse")
class Reuse(Predictor):
    """``R = R_b``."""

    space = Space.RESIDUAL
    residuals = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.residual: Stored | None = None

    @property
    def ready(self) -> bool:
        return self.residual is not None

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        return 1.0

    def record(self, obs: Observation, value: Tensor) -> None:
        self.residual = self.storage.keep(value)

    def forecast(self, out: Tensor) -> None:
        out.copy_(self.storage.load(self.residual))

    @property
    def held(self) -> Sequence[Tensor]:
        return [part for stored in self.stored for part in stored.parts]

    @property
    def stored(self) -> Sequence[Stored]:
        return [] if self.residual is None else [self.residual]


@predictor("output_reuse")
class OutputReuse(Predictor):
    """``v = v_b``: the last computed output again."""

    space = Space.OUTPUT
    noise_aware = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.value: Tensor | None = None

    @property
    def ready(self) -> bool:
        return self.value is not None

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        return 1.0

    def record(self, obs: Observation, value: Tensor) -> None:
        self.value = value

    def forecast(self, out: Tensor) -> None:
        out.copy_(self.value)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.value is None else [self.value]
