"""A way of caching by name: when to reuse, how to rebuild, and from which threshold on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

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
        warmup_steps: steps at the start that are always computed.
        max_consecutive: longest run of reused steps.
        target: speed to meet; ``None`` ends a preset's own target, which was for the preset's rules.
        mask, curve, residual_errors, velocity_errors: as in ``CacheConfig``.
        thresholds: per architecture, for where ``threshold`` is ``None``.
    """

    indicator: str
    predictor: str
    threshold: float | None = None
    gamma_max: float | None = None
    probe_depth: int | None = None
    warmup_steps: int | None = None
    max_consecutive: int | None = None
    target: str | None = None
    mask: str | None = None
    curve: tuple[float, ...] | None = None
    residual_errors: tuple[tuple[float, ...], ...] | None = None
    velocity_errors: tuple[tuple[float, ...], ...] | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        indicator_class(self.indicator)
        predictor_class(self.predictor)
        self.applied_to(CacheConfig(threshold=0.0))

    def applied_to(self, config: CacheConfig) -> CacheConfig:
        """``config`` with this policy's rules, and with its numbers where it has any."""
        mine = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "thresholds"}
        mine["target"] = self.target or ""
        if self.threshold is None:
            mine["threshold"] = self.thresholds.get(config.architecture)
        return replace(config, **{name: value for name, value in mine.items() if value is not None})
