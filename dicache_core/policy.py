"""A way of caching: when to reuse, how to rebuild, up to which limit, and what people are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from .calibration import Calibration
from .call_plan import CallPlan
from .config import CacheConfig
from .effective_settings import stage_of
from .methods.base import AuditedPredictor, PacedIndicator, Stage
from .methods.indicators import indicator_class
from .methods.predictors import predictor_class
from .target import FEW_STEPS, FEWEST_STEPS, Target

ELSEWHERE = ""  # in ``thresholds``: every architecture that is not named
DEFAULT_SPEED = "2x"  # of a rule that has no other limit than a target


@dataclass(frozen=True)
class Policy:
    """What replaces a preset's rules; ``None`` leaves the number that the rules are put on.

    Attributes:
        indicator: name of the rule that says *when* to reuse, see ``dicache_core.methods.indicators``.
        predictor: name of the rule that says *how* to rebuild, see ``dicache_core.methods.predictors``.
        threshold: largest accumulated error of a reused step, in the indicator's own scale; 0 never reuses.
        interval: for rules that count: every ``interval``-th step is computed.
        gamma_max: upper bound of the trajectory's extrapolation factor.
        probe_depth: blocks that run on every step.
        warmup_steps: steps at the start that are always computed.
        max_consecutive: longest run of reused steps.
        target: speed to meet in place of the rule's own limit.
        plan: as in ``CacheConfig``.
        mask: as in ``CacheConfig``.
        calibration: for calibrated rules; belongs to one architecture.
        thresholds: per architecture, for where ``threshold`` is ``None``.

    Raises:
        ValueError: for a limit that the rule does not know.
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
    plan: CallPlan | None = None
    mask: str | None = None
    calibration: Calibration | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        indicator_class(self.indicator)
        predictor_class(self.predictor)
        if self.threshold and self.limited_by != "threshold":
            raise ValueError(f"threshold is {self.threshold:g}, but {LIMITS[self.limited_by]}")
        if self.interval is not None and self.limited_by != "interval":
            raise ValueError(
                f"interval is {self.interval}, but this policy has no interval: write -1, "
                f"and set {self.limited_by} in DiCache Policy"
            )
        if self.target and self.limited_by == "mask":
            raise ValueError(
                f"target is {self.target!r}, but this policy follows its mask: clear target, or choose another policy"
            )
        if self.target and self.in_parts:
            raise ValueError(
                f"target is {self.target!r}, but this policy skips parts of steps: clear target, "
                "or choose another policy"
            )
        if self.plan and not issubclass(indicator_class(self.indicator), PacedIndicator):
            raise ValueError("a plan says which calls the forecast method computes: this policy follows none")
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
    def in_parts(self) -> bool:
        """Whether it decides on parts of a stack."""
        return indicator_class(self.indicator).in_parts

    @property
    def probes(self) -> bool:
        """Whether blocks run on every step, so that a probe depth means something."""
        return stage_of(self.indicator, self.predictor) is Stage.PROBE

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
            "plan": self.plan,
            "mask": self.mask,
            "gamma_max": self.gamma_max,
            "probe_depth": self.probe_depth,
            "warmup_steps": self.warmup_steps,
            "max_consecutive": self.max_consecutive,
            **(self.calibration.settings_for(config.architecture) if self.calibration else {}),
        }
        limited = self.in_parts or any(mine[name] is not None for name in ("threshold", "interval", "mask"))
        target = self.target if self.target is not None else "" if limited else config.target
        if not target and self.limited_by == "target":
            target = DEFAULT_SPEED
        mine["adaptive"] = bool(target) and issubclass(predictor_class(self.predictor), AuditedPredictor)
        if target and not Target.parse(target).count:
            mine["few_steps"] = FEWEST_STEPS if mine["adaptive"] else FEW_STEPS
        elif config.target:  # a speed is turned down where steps are few; another limit is taken at its word
            mine["few_steps"] = 0
        known = {name: value for name, value in mine.items() if value is not None}
        return replace(config, indicator=self.indicator, predictor=self.predictor, target=target, **known)


class Group(str, Enum):
    """Where a policy stands on the menu, in this order."""

    PAPER = "paper"  # DiCache
    OWN = "own"  # developed here
    EVERY_STEP = "every step"  # published, judges every step
    CALIBRATED = "calibrated"  # published, goes by a calibrating run
    INTERVAL = "interval"  # published, computes every n-th step
    PARTS = "parts"  # published, decides on parts of the stack
    PLAN = "plan"  # written down by hand

    @property
    def published(self) -> bool:
        """Whether others than the paper's authors and this pack came up with its policies."""
        return self not in (Group.PAPER, Group.OWN)


@dataclass(frozen=True)
class Source:
    """Where a method is from.

    Attributes:
        name: what its authors call it.
        arxiv: id of the paper, empty where there is none.
        idea_only: whether no more than the idea could be taken over; the method's file says what is known.
    """

    name: str
    arxiv: str = ""
    idea_only: bool = False


@dataclass(frozen=True)
class NamedPolicy:
    """A policy with what people are told of it; menus, help pages and keys of translations are made from that.

    Attributes:
        id: what graphs and settings call it; it stays.
        title: a name for people, the same in every language unless ``locales`` has another.
        group: where it stands on the menu.
        when: when a step is skipped, half a sentence.
        how: how it is rebuilt, half a sentence.
        policy: its rules and numbers.
        source: the paper, if it has one.
    """

    id: str
    title: str
    group: Group
    when: str
    how: str
    policy: Policy
    source: Source | None = None


def everywhere(threshold: float, **others: float) -> dict[str, float]:
    """``Policy.thresholds``: one for every architecture, and ``others`` by name.

    The authors' where they gave one for the architecture, else the customary one.
    """
    return {ELSEWHERE: threshold, **others}


# Why a rule has no threshold, and what to write instead.
LIMITS = {
    "interval": "this policy computes every n-th step: write -1, and set interval or target in DiCache Policy",
    "mask": "this policy follows its mask: write -1, and set mask in DiCache Policy",
    "target": "this policy follows a target such as 2x: write -1, and set target in DiCache Policy",
}
