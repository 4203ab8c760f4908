"""Skipped steps by a fixed schedule: what a rule costs is measured, what it says is not followed."""

import math
from collections.abc import Collection
from typing import Any

THRESHOLD = 0.5  # of the forced rules, whose errors are 0 and infinity


def forced(core: Any, rule: str, reused: Collection[int]) -> str:
    """Register ``rule`` with its answer replaced: steps at the places ``reused`` are; returns the name it got."""
    original = core.indicator_class(rule)

    class Forced(original):
        accumulates = False

        def error(self, seen: Any, sums: Any) -> float:
            super().error(seen, sums)
            return 0.0 if seen.step.place in reused else math.inf

    name = f"forced {rule}"
    core.INDICATORS[name] = Forced
    return name


def dicache(core: Any, reused: Collection[int]) -> Any:
    """DiCache's published rules for a run whose steps ``reused`` are skipped."""
    return core.CacheConfig(threshold=THRESHOLD, warmup_steps=0, indicator=forced(core, "delta_y", reused))


def first_block(core: Any, reused: Collection[int]) -> Any:
    """First-block caching in the same engine."""
    rule = forced(core, "first_block", reused)
    return core.CacheConfig(threshold=THRESHOLD, warmup_steps=0, indicator=rule, predictor="reuse")
