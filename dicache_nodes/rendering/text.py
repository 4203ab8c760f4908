"""Runs in words and in JSON."""

from __future__ import annotations

import json
from typing import Any

from ...dicache_core import (
    COMPILER,
    COMPUTED,
    TUNED_MATCH_TEXTS,
    Calibration,
    RunStatistics,
    StepCode,
    display_name,
    method_of,
    threshold_of,
)
from ...dicache_core.effective_settings import limit_text, probe_depth_of
from ...dicache_core.explain import why_nothing
from ...dicache_core.policies import title
from ...dicache_core.reasons import SKIPPED, NoSkip

NO_RUN = (
    "No run yet. Connect the statistics of a DiCache Apply whose model a sampler uses. Connect that sampler's output "
    "to `run after`, so that this node runs last."
)
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
    NoSkip.NEW_NOISE: "this sampler adds new noise at every step, which cannot be predicted here. Choose a sampler "
    "that adds none, such as euler, or the preset balanced if another method is chosen.",
    NoSkip.VETO: "every planned skip was cancelled: predictions were too far from the model's output. Distilled "
    "models and samplers with large steps can cause this. In runs of more than 16 steps a faster preset allows more.",
    NoSkip.FEW_STEPS: "{steps} steps are too few to skip any. Use more than {few} steps.",
    NoSkip.TARGET: "target {target} computes all {steps} steps. Write a higher speed or fewer computed steps.",
    NoSkip.NOT_OPEN: "every step was warm-up, the last step, or outside start_percent and end_percent.",
    NoSkip.IMAGE_CHANGED: "the image moves between steps: another node shifts it or its tiles. Such steps cannot "
    "be predicted. Keep the tiles in place.",
    NoSkip.NO_HISTORY: "the model changed at every step. Look for another node that changes it.",
    NoSkip.INTERVAL: "interval 1 computes every step. Write 2 or more.",
    NoSkip.ERROR: "the smallest error was {smallest:.3g}, above the threshold {threshold:g}. Write a higher "
    "threshold, or -1 and choose the preset balanced or fast.",
}
CLOSE = {  # see dicache_core.quality
    "very close": "very close to the uncached image",
    "close": "close to the uncached image",
    "visible": "may differ visibly from the uncached image",
}
OVERRIDDEN = (
    "This DiCache Apply was overridden.\nA later DiCache node sampled the model in its place. Connect the "
    "statistics of that node, or remove one of the two."
)
BYPASSED = "DiCache is bypassed.\nNo DiCache Apply is connected to statistics. Every step was computed."
UNITS = ("B", "KiB", "MiB", "GiB")


def as_json(value: Any) -> str:
    """JSON for people and programs; numbers that JSON has no word for are errors."""
    return json.dumps(value, indent=1, allow_nan=False)


def describe(runs: list[RunStatistics]) -> str:
    """A few lines about each run, or why there is none."""
    if not runs:
        return NO_RUN
    many = len(runs) > 1
    return "\n\n".join((f"Run {n}: " if many else "") + _one(run) for n, run in enumerate(runs, 1))


def _one(run: RunStatistics) -> str:
    steps, evaluations = run.schedule.steps, run.cells.replace(StepCode.TO_COME, "")
    counted = "" if run.by_steps else f", {len(evaluations)} model evaluation{'s' * (len(evaluations) != 1)}"
    lines = [
        f"{display_name(run.architecture)}, {steps} step{'s' * (steps != 1)}{counted}: {run.computed} computed, "
        f"{run.reused} skipped{stopped_text(run)}",
        _seconds(run),
        _settings(run),
        "" if run.compiler is None else COMPILER[run.compiler],
        f"memory held: {in_bytes(run.held_bytes)}",
        close_text(run),
    ]
    return "\n".join(filter(None, [*lines, nothing_text(run) or veto_text(run)]))


def stopped_text(run: RunStatistics) -> str:
    """That a run did not come to its end; empty for one that did."""
    return f", stopped at {run.evaluations} of {len(run.cells)}" if run.stopped else ""


def _settings(run: RunStatistics) -> str:
    """The method and the numbers that were in force; of a rule that runs no probe, no depth."""
    config, depth = run.config, probe_depth_of(run.config)
    limited_by = "threshold " if threshold_of(config) is not None else ""
    at_most = "up to " if config.speed_target and not config.speed_target.count else ""
    warmup = config.warmup_of(run.schedule.total)
    words = [
        recalled_text(run),
        title(method_of(config)),
        f"{limited_by or at_most}{limit_text(config)}",
        f"probe depth {depth}" if depth else "",
        f"warm-up {warmup} step{'s' * (warmup != 1)}",
    ]
    return ", ".join(filter(None, words))


def _seconds(run: RunStatistics) -> str:
    spent = sum(run.seconds(COMPUTED | SKIPPED))
    if run.speedup is None:
        return "no model evaluation was measured"
    if not run.reused_seconds:
        return f"{spent:.2f} s of sampling"
    unit = "step" if run.by_steps else "evaluation"
    return (
        f"{spent:.2f} s of sampling, {run.saved_seconds:.2f} s less than without skipping ({run.speedup:.2f}x). "
        f"A computed {unit} takes {run.computed_seconds:.3f} s, a skipped one {run.reused_seconds:.3f} s"
    )


def recalled_text(run: RunStatistics) -> str:
    """What the preset tuned did in a run; empty with any other preset."""
    tuned_match = run.tuned_match
    return (
        ""
        if tuned_match is None
        else TUNED_MATCH_TEXTS[tuned_match.found].format(goal=tuned_match.goal, steps=tuned_match.steps)
    )


def close_text(run: RunStatistics) -> str:
    """How close the image is, by what the run saw; empty where nobody knows."""
    word = run.closeness
    return "" if word is None else f"Estimate: {CLOSE[word]} (from the prediction error on computed steps)"


def veto_text(run: RunStatistics) -> str:
    """How many planned skips the model cancelled; empty where there were none."""
    if not run.vetoed:
        return ""
    return f"{run.vetoed} planned skip{'s' * (run.vetoed != 1)} cancelled (prediction off)"


def nothing_text(run: RunStatistics) -> str | None:
    """Why a run skipped nothing and what to do about it; ``None`` where it skipped something."""
    found = why_nothing(run)
    if found is None:
        return None
    config, total = run.config, run.schedule.total
    words = NOTHING[found.reason].format(
        steps=total,
        few=max(config.few_steps, total),
        target=config.target,
        threshold=config.threshold,
        smallest=found.smallest or 0.0,
        other=found.other,
    )
    return f"{'Skipping was stopped' if run.reused else 'Nothing was skipped'}: {words}"


def calibrate_text(curve: Calibration, name: str) -> str:
    """What DiCache Calibrate wrote, and where it is used."""
    saved = f"Saved calibration {name}: {display_name(curve.architecture)}, {len(curve.ratios)} steps."
    return f"{saved}\nTo use it, choose {name} as the calibration on DiCache Policy."


def in_bytes(count: float) -> str:
    """``3670016`` -> ``3.5 MiB``."""
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} {UNITS[-1]}"
