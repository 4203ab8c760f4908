"""Settings of one cache: validated, frozen, and with errors that say what to write instead."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .call_plan import CallPlan
from .reasons import Reason
from .schedule import ModelCall
from .segments import parse_blocks
from .target import FEW_STEPS, Target

CACHE_DEVICES = ("auto", "gpu", "cpu")
RESIDUAL_BITS = (16, 8)
LARGEST_THRESHOLD = 10.0  # a relative change of 1000%: beyond it a number is a typing error
LARGEST_COUNT = 1000  # of blocks, or of steps between two computed ones
WARMUP_FRACTION = 0.2  # Bu et al., arXiv 2508.17356, section 4.1: the first 20% of the steps are computed


@dataclass(frozen=True)
class CacheConfig:
    """Everything a cache has to know before the first step.

    Attributes:
        threshold: largest accumulated error of a reused step, in the indicator's own scale; not read where a target
            steers, or where the rule has another limit (``Indicator.limited_by``). 0 never reuses, whatever the rule.
        interval: for rules that count: every ``interval``-th step is computed.
        probe_depth: blocks ``m`` that run on every step, at least 1.
        warmup_steps: steps at the start of the whole schedule that are always computed; ``None``: see ``warmup_of``.
        gamma_max: upper bound of the trajectory's extrapolation factor (1 means plain reuse).
        indicator: name of the rule that says *when* to reuse, see ``dicache_core.methods.indicators``.
        predictor: name of the rule that says *how* to rebuild, see ``dicache_core.methods.predictors``.
        start_percent, end_percent: part of the whole schedule, in [0, 1], in which steps may be reused.
        max_consecutive: longest run of reused steps; 0 means no limit.
        few_steps: schedules of up to this many steps are computed in full, as a distilled model's are; 0 for none.
        probe_tokens: tokens on which the probe is kept and measured; 0 chooses by size (all of them up to 1024).
        cache_device: where residuals live between steps: "gpu" beside the model, "cpu" in main memory, "auto" chooses.
        residual_bits: 16 keeps residuals in the model's dtype, 8 packs them into one byte per value.
        architecture: name of the model's architecture, for rules with a table of their own; empty for none.
        target: speed ("2x") or number of computed steps ("12") to meet, instead of the threshold; empty for neither.
        adaptive: whether the run itself decides how many skips it bears, which makes a target's speed an upper bound,
            see ``Target``.
        plan: for the forecast method with a target: which calls are computed, in place of its own law.
        mask: for the rule "mask": "1,1,0,1", per step of the whole schedule, whether it is computed; for rules that
            decide on parts of a stack the blocks that they reuse, "double 6-19, single 0 2 4-7".
        magnitude_ratios: for the rule "magcache": per step of a calibrating run, magnitude of its residual over the one
            before.
        residual_errors, velocity_errors, block_changes: for calibrated rules, from the same run, see
            ``dicache_core.calibration``.
    """

    threshold: float = 1.0
    interval: int = 2
    probe_depth: int = 1
    warmup_steps: int | None = None
    gamma_max: float = 1.5
    indicator: str = "delta_y"
    predictor: str = "trajectory"
    start_percent: float = 0.0
    end_percent: float = 1.0
    max_consecutive: int = 0
    few_steps: int = 0
    probe_tokens: int = 0
    cache_device: str = "auto"
    residual_bits: int = 16
    architecture: str = ""
    target: str = ""
    adaptive: bool = False
    plan: CallPlan | None = None
    mask: str = ""
    magnitude_ratios: tuple[float, ...] = ()
    residual_errors: tuple[tuple[float, ...], ...] = ()
    velocity_errors: tuple[tuple[float, ...], ...] = ()
    block_changes: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        _require(
            math.isfinite(self.threshold) and self.threshold >= 0,
            f"threshold is {self.threshold}: write 0 (never skips) or a positive number such as 0.1 to 0.5",
        )
        _require(
            1 <= self.interval <= LARGEST_COUNT,
            f"interval is {self.interval}: write 1 (every step is computed) to {LARGEST_COUNT}; 3 computes every third "
            "step, -1 uses the method's number",
        )
        _require(
            1 <= self.probe_depth <= LARGEST_COUNT,
            f"probe_depth is {self.probe_depth}: write the number of blocks to run on every step, 1 to "
            f"{LARGEST_COUNT}, or -1 (automatic)",
        )
        _require(
            self.warmup_steps is None or self.warmup_steps >= 0,
            f"warmup_steps is {self.warmup_steps}: write 0 or more, or -1 (automatic)",
        )
        _require(
            math.isfinite(self.gamma_max) and self.gamma_max >= 1,
            f"gamma_max is {self.gamma_max}: write 1 (plain reuse) or more; the paper uses 1.5 and 2",
        )
        _require(
            0 <= self.start_percent <= self.end_percent <= 1,
            f"start_percent {self.start_percent} to end_percent {self.end_percent} is not a part of the schedule: "
            "write two numbers between 0 and 1, the smaller one first",
        )
        _require(
            self.max_consecutive >= 0,
            f"max_consecutive is {self.max_consecutive}: write 0 (no limit) or the most steps to skip in a row",
        )
        _require(
            self.few_steps >= 0,
            f"few_steps is {self.few_steps}: write 0 (none) or the steps up to which a schedule is computed in full",
        )
        _require(
            self.probe_tokens >= 0,
            f"probe_tokens is {self.probe_tokens}: write 0 (choose by size) or a number of tokens",
        )
        _require(
            self.cache_device in CACHE_DEVICES,
            f"cache_device is {self.cache_device!r}: write one of {', '.join(CACHE_DEVICES)}",
        )
        _require(
            self.residual_bits in RESIDUAL_BITS,
            f"residual_bits is {self.residual_bits}: write 16 (the model's own dtype) or 8",
        )
        check_mask(self.mask)
        _require(self.plan is None or self.target, "a plan needs a target such as 2x, which says how many calls it has")
        if self.target:
            Target.parse(self.target)

    @property
    def speed_target(self) -> Target | None:
        """The target, read."""
        return Target.parse(self.target, self.adaptive) if self.target else None

    def allowed_latent_error(self, total: int) -> float:
        """The latent error that skipping may cause in a schedule of ``total`` steps, see ``ErrorEstimator``."""
        return self.speed_target.allowed_latent_error(total) if self.speed_target else math.inf

    def warmup_of(self, total: int) -> int:
        """Steps of a whole schedule of ``total`` steps that are computed before anything may be reused.

        With a target, at most half of the steps that it computes: the rest is for where the error is largest.  Left
        automatic where the target is adaptive it is one step, as the audits say how it goes on, and where steps are few
        just that half: the first ones lay out the image.
        """
        steps = self._first_steps(total) if self.warmup_steps is None else self.warmup_steps
        return steps if self.speed_target is None else min(steps, math.ceil(self.speed_target.computed(total) / 2))

    def _first_steps(self, total: int) -> int:
        """The automatic warm-up, before a target takes its half."""
        if self.speed_target is None or not self.adaptive:
            return math.ceil(WARMUP_FRACTION * total - 1e-9)
        return total if self.speed_target.adaptive and total <= FEW_STEPS else 1

    def block_reason(self, step: ModelCall, last: bool = True) -> Reason | None:
        """Why no sample may be reused at ``step``, known before anything is measured; ``None`` when it is open.

        ``last`` is whether the last step is always computed.
        """
        if self.threshold == 0:
            return Reason.THRESHOLD_ZERO
        if step.total <= self.few_steps:
            return Reason.FEW_STEPS
        if step.global_step < self.warmup_of(step.total):
            return Reason.WARM_UP
        if last and step.is_last:
            return Reason.LAST_STEP
        if self.excludes(step):
            return Reason.OUTSIDE_RANGE
        return None

    def excludes(self, step: ModelCall) -> bool:
        """Whether ``step`` lies outside of the start and end percent."""
        return not self.start_percent <= step.progress < self.end_percent

    def opens_after(self, step: ModelCall) -> bool:
        """Whether ``step`` is closed and the next call of its sequence is not."""
        ahead = step.call_index + 1
        return (
            self.block_reason(step) is not None
            and ahead < len(step.sequence.sigmas)
            and self.block_reason(step.at(ahead)) is None
        )


def check_threshold(threshold: float) -> None:
    """Raise a ``ValueError`` for a threshold that nobody can mean."""
    _require(
        0 <= threshold <= LARGEST_THRESHOLD,
        f"threshold is {threshold:g}: write -1 (automatic), 0 (never skips) or a number up to "
        f"{LARGEST_THRESHOLD:g}, such as 0.1 to 0.5",
    )


def check_mask(text: str) -> None:
    """Raise a ``ValueError`` for what is neither a mask of steps nor a list of blocks, which begins with a word."""
    if text.strip()[:1].isalpha():
        parse_blocks(text)
    else:
        parse_mask(text)


def parse_mask(text: str) -> tuple[bool, ...]:
    """``"1,1,0,1"`` or ``"1101"`` -> which steps are computed."""
    digits = text.replace(",", "").replace(" ", "")
    _require(set(digits) <= {"0", "1"}, f"mask is {text!r}: write 1 (computed) and 0 (skipped) with commas: 1,1,0,1")
    return tuple(digit == "1" for digit in digits)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
