"""What users are told of a run beside its numbers: the method that was in force, and why nothing was skipped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .config import CacheConfig
from .effective_settings import interval_of, threshold_of
from .engine.decision import Decision
from .methods.indicators import indicator_class
from .methods.noise_forecast import NoiseRule, for_schedule
from .policies import POLICIES
from .reasons import NOT_OPEN, NoSkip, Reason, StepCode
from .run_statistics import RunStatistics
from .target import FEW_STEPS

WAITING = {*NOT_OPEN, Reason.NO_ANCHOR, Reason.NO_AUDIT}  # reasons of calls with nothing to go by

NOTHING = {
    NoSkip.THRESHOLD_ZERO: "threshold 0 never skips. Write -1 or a number above 0.",
    NoSkip.OTHER_CACHE: "{other} is on the same model. Two step caches together ruin the image. Remove {other} or "
    "DiCache Apply.",
    NoSkip.OUT_OF_MEMORY: "no memory was left for the cache. Set cache_device to cpu, or make the image smaller.",
    NoSkip.PREDICTS_IMAGE: "this model type is not supported.",
    NoSkip.NEEDS_EVERY_CALL: "this sampler needs every step. Choose another sampler.",
    NoSkip.RISING_NOISE: "the noise rises in this run (unsampling), so every step is computed.",
    NoSkip.ONE_STEP: "each run has one step, so there is nothing to skip. Samplers that go step by step (tiled, "
    "regional) do that. Use one that samples all steps in one run.",
    NoSkip.OWN_STEPS: "this sampler takes its own steps, which DiCache could not find out. So every step is computed.",
    NoSkip.UNKNOWN_SAMPLER: "this sampler is unknown, and every planned skip was cancelled: predictions were too "
    "far from the model's output. Samplers that add noise do that. Choose one of ComfyUI's, such as euler.",
    NoSkip.NO_BLOCK_SEEN: "another node bypassed DiCache: it runs the model in its own way. Remove it or DiCache "
    "Apply.",
    NoSkip.BLOCKS: "this model runs its blocks in a way that DiCache cannot follow. Choose the preset balanced.",
    NoSkip.SECOND_MODEL: "this method cannot look into the second model of the run. Choose the preset balanced.",
    NoSkip.NOT_A_NUMBER: "the model's values are not numbers (NaN). Try another weight precision. Sample without "
    "DiCache to see whether the image is broken there too.",
    NoSkip.NEW_NOISE: "this sampler adds new noise at every step, which cannot be predicted here. Choose a sampler "
    "that adds none, such as euler, or the preset balanced if another method is chosen.",
    NoSkip.VETO: "every planned skip was cancelled: predictions were too far from the model's output. Distilled "
    "models and samplers with large steps can cause this. In runs of more than 16 steps a faster preset allows more.",
    NoSkip.FEW_STEPS: "{total} steps are too few to skip any. Use more than {few} steps.",
    NoSkip.TARGET: "target {target} computes all {steps} steps. Write a higher speed or fewer computed steps.",
    NoSkip.NOT_OPEN: "every step was warm-up, the last step, or outside start_percent and end_percent.",
    NoSkip.IMAGE_CHANGED: "the image moves between steps: another node shifts it or its tiles. Such steps cannot "
    "be predicted. Keep the tiles in place.",
    NoSkip.NO_HISTORY: "the model changed at every step. Look for another node that changes it.",
    NoSkip.FIRST_PART: "this sampler adds noise, so only steps after {until} of the schedule can be skipped. Raise "
    "end_percent above it, or sample more of the schedule in one run.",
    NoSkip.INTERVAL: "interval 1 computes every step. Write 2 or more.",
    NoSkip.MASK: "the mask computes every step that could be skipped. Write 0 for some of them.",
    NoSkip.ERROR: "the smallest error was {smallest:.3g}, above the threshold {threshold:g}. Write a higher "
    "threshold, or -1 and choose the preset balanced or fast.",
    NoSkip.FEW_OPEN: "only {open_steps} of {steps} steps can be skipped, which is not enough for this method. Widen "
    "start_percent and end_percent, lower warmup_steps, or use more steps.",
}


@dataclass(frozen=True)
class Nothing:
    """Why a run skipped nothing.

    Attributes:
        reason: which kind.
        smallest: for ``ERROR``, the smallest error that added up.
        other: for ``OTHER_CACHE``, its name.
        until: for ``FIRST_PART``, the share of the whole schedule that is computed in any case.
        open_steps: for ``FEW_OPEN``, how many steps were neither warm-up nor last nor outside of the range.
    """

    reason: NoSkip
    smallest: float | None = None
    other: str | None = None
    until: float | None = None
    open_steps: int | None = None


def method_of(config: CacheConfig) -> str | None:
    """The name of the policy whose rules these are; ``None`` for rules that no policy has.

    Of several with the same rules, the one whose numbers these are too, else the first.
    """
    same = [name for name, policy in POLICIES.items() if policy.rules_are_of(config)]
    numbers = (name for name in same if replace(POLICIES[name], calibration=None).applied_to(config) == config)
    return next(numbers, same[0] if same else None)


def why_nothing(run: RunStatistics) -> Nothing | None:
    """Why a run skipped nothing; ``None`` where it skipped something or is not whole.

    Another cache, and an image that moves, are told of in any case: noticed in the middle of a run they end the
    skipping there.
    """
    if run.other_cache is not None and run.config.threshold > 0:
        return Nothing(NoSkip.OTHER_CACHE, other=run.other_cache)
    decisions = [d for passed in run.passes for d in passed.decisions]
    reasons = {d.reason for d in decisions}
    if Reason.IMAGE_CHANGED in reasons:
        return Nothing(NoSkip.IMAGE_CHANGED)
    if not decisions or run.reused or {StepCode.MIXED, StepCode.PARTIAL, StepCode.TO_COME} & set(run.cells):
        return None
    config, schedule, threshold = run.config, run.schedule, threshold_of(run.config)
    rule = indicator_class(config.indicator)
    smallest, until, target = _smallest_error(decisions), _computed_until(run), config.speed_target
    holds = {
        NoSkip.THRESHOLD_ZERO: config.threshold == 0,
        NoSkip.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY in reasons,
        NoSkip.PREDICTS_IMAGE: Reason.PREDICTS_IMAGE in reasons,
        NoSkip.NEEDS_EVERY_CALL: Reason.NEEDS_EVERY_CALL in reasons,
        NoSkip.RISING_NOISE: Reason.RISING_NOISE in reasons,
        NoSkip.NO_BLOCK_SEEN: Reason.NO_BLOCK_SEEN in reasons,
        NoSkip.BLOCKS: bool(reasons & {Reason.STACK_LEFT_EARLY, Reason.BLOCKS_REPEATED}),
        NoSkip.SECOND_MODEL: Reason.SECOND_MODEL in reasons,
        NoSkip.NOT_A_NUMBER: any(math.isnan(n) for d in decisions for n in (*d.measured, d.latent_error or 0.0)),
        NoSkip.NEW_NOISE: Reason.NEW_NOISE in reasons,
        NoSkip.UNKNOWN_SAMPLER: Reason.VETO in reasons and not run.sampler_known,
        NoSkip.VETO: Reason.VETO in reasons,
        NoSkip.ONE_STEP: schedule.steps == 1 and run.evaluations <= 2,  # some samplers look at it from both ends
        NoSkip.OWN_STEPS: schedule.steps == 1,
        NoSkip.FEW_STEPS: schedule.total <= config.few_steps
        or (schedule.total <= FEW_STEPS and Reason.NO_AUDIT in reasons and reasons <= WAITING),
        NoSkip.TARGET: target is not None and target.share(schedule.steps, schedule.total) >= 1,
        NoSkip.NOT_OPEN: reasons <= NOT_OPEN,
        NoSkip.NO_HISTORY: reasons <= WAITING and _begun_anew(run) > len(schedule.sequences),
        NoSkip.FIRST_PART: until is not None,
        NoSkip.INTERVAL: interval_of(config) == 1,
        NoSkip.MASK: rule.limited_by == "mask" and not rule.in_parts,
        NoSkip.ERROR: None not in (threshold, smallest) and smallest >= threshold,
    }  # the first one that holds explains the others
    reason = next((reason for reason, found in holds.items() if found), NoSkip.FEW_OPEN)
    return Nothing(
        reason,
        smallest=smallest if reason is NoSkip.ERROR else None,
        until=until if reason is NoSkip.FIRST_PART else None,
        open_steps=_open_steps(run) if reason is NoSkip.FEW_OPEN else None,
    )


def done_text(run: RunStatistics, unit: str) -> str:
    """How much of a run was skipped, ``unit`` being what its cells are."""
    if run.shares is None:
        return f"{run.reused} of {len(run.cells)} {unit} skipped"
    return f"blocks of {run.ran:.1f} of {len(run.cells)} {unit} ran"


def nothing_text(run: RunStatistics) -> str | None:
    """Why a run skipped nothing and what to do about it; ``None`` where it skipped something."""
    found = why_nothing(run)
    if found is None:
        return None
    config, schedule = run.config, run.schedule
    words = NOTHING[found.reason].format(
        steps=schedule.steps,
        total=schedule.total,
        few=max(config.few_steps, schedule.total),
        target=config.target,
        threshold=config.threshold,
        smallest=found.smallest or 0.0,
        other=found.other,
        until=f"{found.until or 0.0:.0%}",
        open_steps=found.open_steps,
    )
    return f"{'Skipping was stopped' if run.reused else 'Nothing was skipped'}: {words}"


def _smallest_error(decisions: list[Decision]) -> float | None:
    """Of those that added up."""
    errors = (d.accumulated for d in decisions if d.accumulated is not None and math.isfinite(d.accumulated))
    return min(errors, default=None)


def _computed_until(run: RunStatistics) -> float | None:
    """Where the part of the schedule ends that is computed under added noise, if no step after it could be skipped."""
    config = for_schedule(run.config, run.schedule)
    could_be_skipped = [passed.step for passed in run.passes if config.block_reason(passed.step) is None]
    if config.indicator != NoiseRule.name or not could_be_skipped:
        return None
    until = NoiseRule(config).first_part(could_be_skipped[0])
    return until if all(step.progress < until for step in could_be_skipped) else None


def _begun_anew(run: RunStatistics) -> int:
    """Evaluations at which a stream came that nothing was kept of."""
    return len({p.evaluation for p in run.passes if any(d.reason is Reason.NO_ANCHOR for d in p.decisions)})


def _open_steps(run: RunStatistics) -> int:
    """Steps that the settings let a run skip."""
    return len({p.step.step_index for p in run.passes if any(d.reason not in NOT_OPEN for d in p.decisions)})
