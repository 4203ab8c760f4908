"""A way of caching by name: when to reuse, how to rebuild, and from which threshold on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from .config import CacheConfig
from .indicators import indicator_class
from .predictors import predictor_class


@dataclass(frozen=True)
class Policy:
    """What replaces a preset's rules; ``None`` leaves the preset's own number.

    Slots:
        indicator: name of the rule that says *when* to reuse, see ``dicache_core.indicators``.
        predictor: name of the rule that says *how* to rebuild, see ``dicache_core.predictors``.
        threshold: largest accumulated error of a reused step, in the indicator's own scale.
        gamma_max: upper bound of the trajectory's extrapolation factor.
        probe_depth: blocks that run on every step.
    """

    indicator: str
    predictor: str
    threshold: float | None = None
    gamma_max: float | None = None
    probe_depth: int | None = None

    def __post_init__(self) -> None:
        indicator_class(self.indicator)
        predictor_class(self.predictor)
        self.applied_to(CacheConfig(threshold=0.0))

    def applied_to(self, config: CacheConfig) -> CacheConfig:
        """``config`` with this policy's rules, and with its numbers where it has any."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(config, **{name: value for name, value in mine.items() if value is not None})
