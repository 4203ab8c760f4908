"""A way of caching by name: when to reuse, how to rebuild, and up to which limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .config import CacheConfig
from .curve import Curve
from .indicators import indicator_class
from .limits import runs_probe
from .predictors import predictor_class
from .target import FEW_STEPS, FEWEST_STEPS, Target

ELSEWHERE = ""  # in ``thresholds``: every architecture that is not named
DEFAULT_SPEED = "2x"  # of a rule that has no other limit than a target


@dataclass(frozen=True)
class Policy:
    """What replaces a preset's rules; ``None`` leaves the number that the rules are put on.

    Slots:
        indicator: name of the rule that says *when* to reuse, see ``dicache_core.indicators``.
        predictor: name of the rule that says *how* to rebuild, see ``dicache_core.predictors``.
        threshold: largest accumulated error of a reused step, in the indicator's own scale; 0 never reuses.
        interval: for rules that count: every ``interval``-th step is computed.
        gamma_max: upper bound of the trajectory's extrapolation factor.
        probe_depth: blocks that run on every step.
        warmup_steps: steps at the start that are always computed.
        max_consecutive: longest run of reused steps.
        target: speed to meet in place of the rule's own limit.
        mask: as in ``CacheConfig``.
        curve: for calibrated rules; belongs to one architecture.
        thresholds: per architecture, for where ``threshold`` is ``None``.

    Raises ``ValueError`` for a limit that the rule does not know.
    """

    indicator: str
    predictor: str
    threshold: float | None = None
    interval: int | None = None
    gamma_max: float | None = None
    probe_depth: int | None = None
    warmup_steps: int | None = None
    max_consecutive: int | None = None
    target: str | None = None
    mask: str | None = None
    curve: Curve | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        indicator_class(self.indicator)
        predictor_class(self.predictor)
        if self.threshold and self.limited_by != "threshold":
            raise ValueError(f"threshold is {self.threshold:g}, but {LIMITS[self.limited_by]}")
        if self.interval is not None and self.limited_by != "interval":
            raise ValueError(f"interval is {self.interval}, but this policy does not compute every n-th step: write -1")
        self.applied_to(CacheConfig())

    @property
    def limited_by(self) -> str:
        """The setting that says how much is skipped where no target does, see ``Indicator.limited_by``."""
        return indicator_class(self.indicator).limited_by

    @property
    def calibrated(self) -> bool:
        """Whether it needs a curve."""
        return indicator_class(self.indicator).calibrated

    @property
    def probes(self) -> bool:
        """Whether blocks run on every step, so that a probe depth means something."""
        return runs_probe(self.indicator, self.predictor)

    def rules_are_of(self, config: CacheConfig) -> bool:
        """Whether ``config`` already decides and rebuilds as this policy does."""
        return (self.indicator, self.predictor) == (config.indicator, config.predictor)

    def applied_to(self, config: CacheConfig) -> CacheConfig:
        """``config`` with this policy's rules, and with its numbers where it has any."""
        threshold = self.threshold
        if threshold is None:
            threshold = self.thresholds.get(config.architecture, self.thresholds.get(ELSEWHERE))
        mine = {
            "threshold": threshold,
            "interval": self.interval,
            "mask": self.mask,
            "gamma_max": self.gamma_max,
            "probe_depth": self.probe_depth,
            "warmup_steps": self.warmup_steps,
            "max_consecutive": self.max_consecutive,
            **(self.curve.settings_for(config.architecture) if self.curve else {}),
        }
        limited = any(mine[name] is not None for name in ("threshold", "interval", "mask"))
        target = self.target if self.target is not None else "" if limited else config.target
        if not target and self.limited_by == "target":
            target = DEFAULT_SPEED
        mine["earned"] = bool(target) and predictor_class(self.predictor).accounts
        if target and not Target.parse(target).count:
            mine["few_steps"] = FEWEST_STEPS if mine["earned"] else FEW_STEPS
        elif config.target:  # a speed is turned down where steps are few; another limit is taken at its word
            mine["few_steps"] = 0
        known = {name: value for name, value in mine.items() if value is not None}
        return replace(config, indicator=self.indicator, predictor=self.predictor, target=target, **known)


# Why a rule has no threshold, and what to write instead.
LIMITS = {
    "interval": "this policy computes every n-th step: write -1, and set interval in DiCache Policy",
    "mask": "this policy computes the steps that its mask names: write -1",
    "target": "this policy is steered by a target such as 2x: write -1, and set target in DiCache Policy",
}
