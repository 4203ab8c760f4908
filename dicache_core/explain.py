"""What users are told of a run beside its numbers: the method that was in force, and why nothing was skipped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .config import CacheConfig
from .effective_settings import interval_of, threshold_of
from .policies import POLICIES
from .reasons import NOT_OPEN, NoSkip, Reason, StepCode
from .run_statistics import RunStatistics
from .target import FEW_STEPS

WAITING = {*NOT_OPEN, Reason.NO_ANCHOR, Reason.NO_AUDIT}  # reasons of calls with nothing to go by


@dataclass(frozen=True)
class Nothing:
    """Why a run skipped nothing.

    Attributes:
        reason: which kind.
        smallest: for ``ERROR``, the smallest error that added up.
        other: for ``OTHER_CACHE``, its name.
    """

    reason: NoSkip
    smallest: float | None = None
    other: str | None = None


def method_of(config: CacheConfig) -> str | None:
    """The name of the policy whose rules these are; ``None`` for rules that no policy has.

    Of several with the same rules, the one whose numbers these are too, else the first.
    """
    same = [name for name, policy in POLICIES.items() if policy.rules_are_of(config)]
    numbers = (name for name in same if replace(POLICIES[name], calibration=None).applied_to(config) == config)
    return next(numbers, same[0] if same else None)


def why_nothing(run: RunStatistics) -> Nothing | None:
    """Why a run skipped nothing; ``None`` where it skipped something, is not whole, or there is no telling.

    Another cache, and an image that moves, are told of in any case: noticed in the middle of a run they end the
    skipping there.
    """
    if run.other_cache is not None and run.config.threshold > 0:
        return Nothing(NoSkip.OTHER_CACHE, other=run.other_cache)
    decisions = [d for passed in run.passes for d in passed.decisions]
    reasons = {d.reason for d in decisions}
    if Reason.IMAGE_CHANGED in reasons:
        return Nothing(NoSkip.IMAGE_CHANGED)
    if run.reused or StepCode.MIXED in run.cells or StepCode.TO_COME in run.cells:
        return None
    config, total, threshold = run.config, run.schedule.total, threshold_of(run.config)
    errors = [d.accumulated for d in decisions if d.accumulated is not None and math.isfinite(d.accumulated)]
    smallest = min(errors, default=None)
    holds = {
        NoSkip.THRESHOLD_ZERO: config.threshold == 0,
        NoSkip.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY in reasons,
        NoSkip.PREDICTS_IMAGE: Reason.PREDICTS_IMAGE in reasons,
        NoSkip.NEEDS_EVERY_CALL: Reason.NEEDS_EVERY_CALL in reasons,
        NoSkip.RISING_NOISE: Reason.RISING_NOISE in reasons,
        NoSkip.NO_BLOCK_SEEN: Reason.NO_BLOCK_SEEN in reasons,
        NoSkip.BLOCKS: bool(reasons & {Reason.STACK_LEFT_EARLY, Reason.BLOCKS_REPEATED}),
        NoSkip.NEW_NOISE: Reason.NEW_NOISE in reasons,
        NoSkip.UNKNOWN_SAMPLER: Reason.VETO in reasons and not run.sampler_known,
        NoSkip.VETO: Reason.VETO in reasons,
        NoSkip.ONE_STEP: run.schedule.steps == 1 and run.evaluations <= 2,  # some samplers look at it from both ends
        NoSkip.OWN_STEPS: run.schedule.steps == 1,
        NoSkip.FEW_STEPS: total <= config.few_steps
        or (total <= FEW_STEPS and Reason.NO_AUDIT in reasons and reasons <= WAITING),
        NoSkip.TARGET: config.speed_target is not None and config.speed_target.computed(total) >= total,
        NoSkip.NOT_OPEN: bool(reasons) and reasons <= NOT_OPEN,
        NoSkip.NO_HISTORY: bool(reasons) and reasons <= WAITING,
        NoSkip.INTERVAL: interval_of(config) == 1,
        NoSkip.ERROR: None not in (threshold, smallest) and smallest >= threshold,
    }  # the first one that holds explains the others
    reason = next((reason for reason, found in holds.items() if found), None)
    return None if reason is None else Nothing(reason, smallest if reason is NoSkip.ERROR else None)
