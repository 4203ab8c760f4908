"""Which of a configuration's numbers are in force: rules read different ones, and a target ends some of them."""

from __future__ import annotations

from typing import Any

from .config import CacheConfig
from .methods.base import AuditedPredictor
from .methods.indicators import Stage, indicator_class
from .methods.predictors import predictor_class
from .target import FEW_STEPS, FEWEST_STEPS


def threshold_of(config: CacheConfig) -> float | None:
    """The threshold in force; ``None`` where a target steers it, or where the rule has another limit."""
    if config.threshold == 0:
        return 0.0
    limited_by = indicator_class(config.indicator).limited_by
    return None if config.target or limited_by != "threshold" else config.threshold


def interval_of(config: CacheConfig) -> int | None:
    """The interval in force; ``None`` where none is."""
    counts = indicator_class(config.indicator).limited_by == "interval"
    return config.interval if counts and config.threshold and not config.target else None


def probe_depth_of(config: CacheConfig) -> int | None:
    """Blocks that run on every step; ``None`` for rules that decide without running any."""
    return config.probe_depth if stage_of(config.indicator, config.predictor) is Stage.PROBE else None


def stage_of(indicator: str, predictor: str) -> Stage:
    """How far a pass has to run before these rules can decide."""
    aligned = predictor_class(predictor).probes > 0  # the predictor needs the probe, whoever decides
    return Stage.PROBE if aligned else indicator_class(indicator).stage


def tells_errors(config: CacheConfig) -> bool:
    """Whether the rule's errors say how wrong a skip would be: those of a count of steps or of a plan say nothing."""
    rule = indicator_class(config.indicator)
    return rule.limited_by in ("threshold", "target") and not rule.meets_target


def effective(config: CacheConfig, total: int) -> dict[str, Any]:
    """The numbers in force in a schedule of ``total`` steps, ready for JSON; ``None`` for those that are not."""
    return {
        "threshold": threshold_of(config),
        "interval": interval_of(config),
        "target": config.target.strip() or None if config.threshold else None,
        "probe_depth": probe_depth_of(config),
        "warmup_steps": config.warmup_of(total),
    }


def leaves_little(config: CacheConfig, total: int) -> bool:
    """Whether so few steps leave little to skip: fewer do where the run itself can tell whether a skip is safe."""
    return total <= (FEWEST_STEPS if issubclass(predictor_class(config.predictor), AuditedPredictor) else FEW_STEPS)


def limit_text(config: CacheConfig) -> str:
    """What says how much is skipped, in a word or three: "2x", "12 steps", "every 3rd step", "mask" or "0.4"."""
    if config.threshold == 0:
        return "0"
    if config.speed_target:
        return f"{config.speed_target.count} steps" if config.speed_target.count else config.target.strip()
    if interval := interval_of(config):
        return every_nth_step(interval)
    threshold = threshold_of(config)
    return "mask" if threshold is None else f"{threshold:g}"


def every_nth_step(interval: int) -> str:
    """``3`` -> ``"every 3rd step"``."""
    if interval == 1:
        return "every step"
    ending = "th" if interval % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(interval % 10, "th")
    return f"every {interval}{ending} step"
