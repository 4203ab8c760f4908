"""What users are told of a run: the method that was in force, and why nothing was skipped.

Codes and numbers, so that every place that shows them can say it in its own words and language.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .config import CacheConfig
from .limits import interval_of, threshold_of
from .policies import POLICIES
from .sample import VETO
from .statistics import RunStatistics

CLOSED = {"warm-up", "last step", "outside start and end percent"}


@dataclass(frozen=True)
class Nothing:
    """Why a run skipped nothing.

    Slots:
        reason: "threshold 0", "memory" (ran out of it), "pictures" (a model that puts out the picture itself),
            "sampler" (one that needs every call), "no block seen" (another forward goes past the cache), "blocks" (they
            run in another way than the cache can follow), "new noise" (the sampler has put it in every time),
            "forecasts off" (a skip would have cost the picture more than the preset allows), "few steps" (so few that
            all are computed), "target" (it asks for all), "closed" (warm-up, last step, outside start and end percent),
            "no history" (every pass was a new one, with nothing to go by), "interval" (every step) or "error" (always
            too large).
        smallest: for "error", the smallest error that added up.
    """

    reason: str
    smallest: float | None = None


def method_of(config: CacheConfig) -> str | None:
    """The name of the policy whose rules these are; ``None`` for rules that no policy has.

    Of several with the same rules, the one whose numbers these are too, else the first.
    """
    same = [name for name, policy in POLICIES.items() if policy.rules_are_of(config)]
    numbers = (name for name in same if replace(POLICIES[name], curve=None).applied_to(config) == config)
    return next(numbers, same[0] if same else None)


def why_nothing(run: RunStatistics) -> Nothing | None:
    """Why a run skipped nothing; ``None`` where it skipped something, is not whole, or there is no telling."""
    if run.reused or "m" in run.cells or "-" in run.cells:
        return None
    config, total, threshold = run.config, run.schedule.total, threshold_of(run.config)
    decisions = [d for passed in run.passes for d in passed.decisions]
    reasons = {d.reason for d in decisions}
    errors = [d.accumulated for d in decisions if d.accumulated is not None and math.isfinite(d.accumulated)]
    smallest = min(errors, default=None)
    holds = {
        "threshold 0": config.threshold == 0,
        "memory": "out of memory" in reasons,
        "pictures": "pictures" in reasons,
        "sampler": "sampler" in reasons,
        "no block seen": "no block seen" in reasons,
        "blocks": bool(reasons & {"stack left early", "blocks run several times"}),
        "new noise": "new noise" in reasons,
        "forecasts off": VETO in reasons,
        "few steps": total <= config.few_steps,
        "target": config.goal is not None and config.goal.computed(total) >= total,
        "closed": bool(reasons) and reasons <= CLOSED,
        "no history": bool(reasons) and reasons <= {*CLOSED, "no anchor yet"},
        "interval": interval_of(config) == 1,
        "error": None not in (threshold, smallest) and smallest >= threshold,
    }  # the first one that holds explains the others
    reason = next((reason for reason, found in holds.items() if found), None)
    return None if reason is None else Nothing(reason, smallest if reason == "error" else None)
