"""Runs in words and in JSON."""

from __future__ import annotations

import json
from typing import Any

from ..dicache_core import RunStatistics

NO_RUN = (
    "No run yet. Connect a DiCache Apply node's statistics, use its model in a sampler, and connect that sampler's "
    "output to `after`, so that this node runs last."
)
BYPASSED = "DiCache is bypassed.\nNo DiCache Apply is connected to statistics, so every step was computed."
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
    config, total = run.config, run.schedule.total
    limit = f"target {config.target}" if config.target else f"threshold {config.threshold:g}"
    lines = [
        f"{run.architecture}, {run.schedule.steps} steps: {run.computed} computed, {run.reused} reused",
        _seconds(run),
        f"{limit}, probe depth {config.probe_depth}, warm-up {config.warmup_of(total)} steps, "
        f"{config.indicator} + {config.predictor}",
        f"memory held: {in_bytes(run.held_bytes)}",
    ]
    return "\n".join(filter(None, [*lines, why_nothing(run)]))


def _seconds(run: RunStatistics) -> str:
    spent = sum(run.seconds("wclrm"))
    if run.speedup is None:
        return "no pass of the model was measured"
    if not run.reused_seconds:
        return f"{spent:.2f} s in the model"
    return (
        f"{spent:.2f} s in the model, {run.saved_seconds:.2f} s saved ({run.speedup:.2f}x); a computed pass takes "
        f"{run.computed_seconds:.3f} s, a reused one {run.reused_seconds:.3f} s"
    )


def why_nothing(run: RunStatistics) -> str | None:
    """Why a run reused nothing and what to do about it; ``None`` where it reused something."""
    if run.reused or "m" in run.cells:
        return None
    if run.config.threshold == 0:
        return "Nothing was reused: threshold 0 never skips. Write -1 or a number above 0."
    errors = [d.accumulated for p in run.passes for d in p.decisions if d.accumulated is not None]
    if not errors:
        return "Nothing was reused: every step was warm-up, the last step or outside start and end percent."
    return (
        f"Nothing was reused: the smallest error was {min(errors):.3g}, the threshold {run.config.threshold:g}. "
        "Write a higher threshold or choose the preset `fast`."
    )


def in_bytes(count: float) -> str:
    """``3670016`` -> ``3.5 MiB``."""
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} {UNITS[-1]}"
