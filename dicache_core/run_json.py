"""A run as JSON: one shape for the live view's events, DiCache Report, a saved image's metadata and the history.

Codes and numbers, so that every place that shows them can say it in its own words and language.  What each key holds
stands in ``tests/golden/run.schema.json``, which the tests hold every such JSON against.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from .effective_settings import effective
from .engine.decision import Decision
from .explain import method_of, why_nothing
from .names import display_name
from .reasons import COMPUTED, SKIPPED
from .run_statistics import PassRecord, RunStatistics, SampleKey

# Of a configuration: long, and they tell people nothing.
TABLES = ("residual_errors", "velocity_errors", "block_changes")


def run_json(run: RunStatistics, details: bool = False) -> dict[str, Any]:
    """The state of a run so far; with ``details`` also its seconds call by call and each sample's decisions."""
    nothing = why_nothing(run) if run.finished else None
    total = run.schedule.total
    found = {
        "architecture": run.architecture,
        "name": display_name(run.architecture),
        "finished": run.finished,
        "stopped": run.stopped,
        "steps": run.schedule.steps,
        "steps_before": run.schedule.steps_before,
        "steps_after": run.schedule.steps_after,
        "evaluations": run.evaluations,
        "computed": run.computed,
        "reused": run.reused,
        "vetoed": run.vetoed,
        "cells": run.cells,
        "shares": run.shares,
        "accumulated_errors": accumulated_errors(run),
        "seconds": sum(run.seconds(COMPUTED | SKIPPED)),
        "seconds_computed_step": run.computed_seconds,
        "seconds_reused_step": run.reused_seconds,
        "seconds_saved": run.saved_seconds,
        "speedup": run.speedup,
        "held_bytes": run.held_bytes,
        "image_error": finite(run.image_error),
        "closeness": run.closeness,
        "policy": method_of(run.config),
        "nothing": nothing and {**asdict(nothing), "reason": nothing.reason.value},
        "settings": {key: value for key, value in asdict(run.config).items() if key not in TABLES},
        "effective": effective(run.config, total),
        "tuned": run.tuned_match and asdict(run.tuned_match),
        "compiler": run.compiler,
    }
    if details:
        samples = enumerate(run.passes_by_sample().items())
        found["seconds_per_step"] = run.seconds_per_step()
        found["samples"] = [{"sample": n, **_sample(run, key, passes)} for n, (key, passes) in samples]
    return found


def accumulated_errors(run: RunStatistics) -> list[float | None]:
    """Per evaluation, the error that had added up for the sample that was furthest off; ``None`` where none is told."""
    found: list[float | None] = [None] * len(run.cells)
    for passed in run.passes:
        known = [d.accumulated for d in map(run.shown, passed.decisions) if d.accumulated is not None]
        if known:
            found[passed.evaluation] = finite(max(known))
    return found


def _sample(run: RunStatistics, key: SampleKey, passes: list[tuple[PassRecord, Decision]]) -> dict[str, Any]:
    steps = [
        {
            "step": passed.evaluation,
            "global_step": passed.step.global_step,
            "sigma": passed.step.sigma,
            **_decision(run.shown(decision)),
        }
        for passed, decision in passes
    ]
    return {**asdict(run.name_of(key)), "stream": key.stream, "row": key.row, "steps": steps}


def _decision(decision: Decision) -> dict[str, Any]:
    """A decision without what a rule measured for its own use."""
    numbers = {key: finite(value) for key, value in asdict(decision).items() if key != "measured"}
    return {**numbers, "reason": decision.reason.value}


def finite(value: Any) -> Any:
    """``value``, or ``None`` for a number that is infinite or none: JSON knows neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
