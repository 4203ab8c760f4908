"""Runs in words and in JSON."""

from __future__ import annotations

import json
from typing import Any

from ...dicache_core import (
    COMPILER,
    COMPUTED,
    Calibration,
    RunStatistics,
    StepCode,
    display_name,
    method_of,
    threshold_of,
)
from ...dicache_core.effective_settings import limit_text, probe_depth_of
from ...dicache_core.explain import nothing_text
from ...dicache_core.policies import title
from ...dicache_core.reasons import SKIPPED

NO_RUN = (
    "No run yet. Connect the statistics of a DiCache Apply whose model a sampler uses. Connect that sampler's output "
    "to `run after`, so that this node runs last."
)
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


def describe(run: RunStatistics) -> str:
    """A few lines about a run."""
    steps, evaluations = run.schedule.steps, run.cells.replace(StepCode.TO_COME, "")
    counted = "" if run.by_steps else f", {len(evaluations)} model evaluation{'s' * (len(evaluations) != 1)}"
    done = f"{run.computed} computed, {run.reused} skipped"
    if run.shares is not None:
        done = f"blocks of {run.ran:.1f} of {len(run.shares)} ran"
    lines = [
        f"{display_name(run.architecture)}, {steps} step{'s' * (steps != 1)}{counted}: {done}{stopped_text(run)}",
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
        "" if run.tuned_match is None else run.tuned_match.text,
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


def close_text(run: RunStatistics) -> str:
    """How close the image is, by what the run saw; empty where nobody knows."""
    word = run.closeness
    return "" if word is None else f"Estimate: {CLOSE[word]} (from the prediction error on computed steps)"


def veto_text(run: RunStatistics) -> str:
    """How many planned skips the model cancelled; empty where there were none."""
    if not run.vetoed:
        return ""
    return f"{run.vetoed} planned skip{'s' * (run.vetoed != 1)} cancelled (prediction too far off)"


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
