"""Runs in words and in JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ..dicache_core import (
    RECALLED,
    RunStatistics,
    display_name,
    limit_text,
    method_of,
    probe_depth_of,
    threshold_of,
    title,
    why_nothing,
)

NO_RUN = (
    "No run yet. Connect a DiCache Apply node's statistics, use its model in a sampler, and connect that sampler's "
    "output to `after`, so that this node runs last."
)
NOTHING = {  # see dicache_core.explain
    "threshold 0": "threshold 0 never skips. Write -1 or a number above 0.",
    "memory": "there was no memory left for the cache. Set cache_device to cpu, or make the picture smaller.",
    "pictures": "this model puts out the picture itself, so nothing can be forecast.",
    "sampler": "this sampler chooses its steps by what it sees, or needs every one of them. Choose another sampler.",
    "no block seen": "the model's forward visited no block that DiCache put its cache around. Another node's forward "
    "or cache does it: remove it, or DiCache Apply.",
    "blocks": "this model runs its blocks in a way that DiCache cannot follow. Choose the preset balanced.",
    "new noise": "this sampler puts so much new noise into every step that none can be forecast. Choose a sampler that "
    "adds none, or the preset published.",
    "forecasts off": "what a skip would have put in was too far from what the model gave, at every step that was to be "
    "skipped, so all were computed. A distilled model, or a sampler of large steps, may have nothing to skip. In runs "
    "of more than 16 steps a faster preset allows more.",
    "few steps": "with {steps} steps every step counts, so all are computed. Runs of more than {few} steps gain.",
    "target": "a target of {target} computes all of {steps} steps. Write a higher speed or fewer computed steps.",
    "closed": "every step was warm-up, the last step or outside start and end percent.",
    "no history": "to the cache, every pass of the model was a new one. Does another node change the model on every "
    "step?",
    "interval": "interval 1 computes every step. Write 2 or more.",
    "error": "the smallest error was {smallest:.3g}, the threshold {threshold:g}. Write a higher threshold, or -1 and "
    "choose the preset balanced or fast.",
}
CLOSE = {  # see dicache_core.closeness
    "very close": "the picture should be very close to the one without skipping",
    "close": "the picture should be close to the one without skipping",
    "visible": "the picture may differ visibly from the one without skipping",
}
BYPASSED = "DiCache is bypassed.\nNo DiCache Apply is connected to statistics, so every step was computed."
UNITS = ("B", "KiB", "MiB", "GiB")


def as_json(value: Any) -> str:
    """JSON for people and programs; numbers that JSON has no word for are errors."""
    return json.dumps(value, indent=1, allow_nan=False)


def told(run: RunStatistics) -> dict[str, Any]:
    """A run ready for JSON, with what the front end needs to say it in the user's language."""
    nothing = why_nothing(run)
    said = {"name": display_name(run.architecture), "policy": method_of(run.config)}
    return {**run.summary(), **said, "nothing": nothing and asdict(nothing)}


def describe(runs: list[RunStatistics]) -> str:
    """A few lines about each run, or why there is none."""
    if not runs:
        return NO_RUN
    many = len(runs) > 1
    return "\n\n".join((f"Run {n}: " if many else "") + _one(run) for n, run in enumerate(runs, 1))


def _one(run: RunStatistics) -> str:
    calls = len(run.passes)
    several = f" ({run.calls_computed} of {calls} calls of the model)" if calls > run.schedule.steps else ""
    name, steps = display_name(run.architecture), run.schedule.steps
    lines = [
        f"{name}, {steps} steps: {run.computed} computed, {run.reused} skipped{several}",
        _seconds(run),
        _settings(run),
        f"memory held: {in_bytes(run.held_bytes)}",
        close_text(run),
    ]
    return "\n".join(filter(None, [*lines, nothing_text(run) or veto_text(run)]))


def _settings(run: RunStatistics) -> str:
    """The method and the numbers that were in force; of a rule that runs no probe, no depth."""
    config, depth = run.config, probe_depth_of(run.config)
    limited_by = "threshold " if threshold_of(config) is not None else ""
    at_most = "up to " if config.goal and not config.goal.count else ""
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
    spent = sum(run.seconds("wclrm"))
    if run.speedup is None:
        return "no pass of the model was measured"
    if not run.reused_seconds:
        return f"{spent:.2f} s in the model"
    return (
        f"{spent:.2f} s in the model, {run.saved_seconds:.2f} s less than without skipping ({run.speedup:.2f}x); a "
        f"computed pass takes {run.computed_seconds:.3f} s, a skipped one {run.reused_seconds:.3f} s"
    )


def recalled_text(run: RunStatistics) -> str:
    """What the preset tuned did in a run; empty with any other preset."""
    recall = run.recall
    return "" if recall is None else RECALLED[recall.found].format(wish=recall.wish, steps=recall.steps)


def close_text(run: RunStatistics) -> str:
    """How close the picture is, by what the run saw; empty where nobody knows."""
    word = run.closeness
    return "" if word is None else f"{CLOSE[word]} (an estimate: how far forecasts were off at the computed steps)"


def veto_text(run: RunStatistics) -> str:
    """How many steps the model had computed that were planned to be skipped; empty where there were none."""
    if not run.vetoed:
        return ""
    steps = "1 step, which was" if run.vetoed == 1 else f"{run.vetoed} steps, which were"
    return f"forecasts were off at {steps} computed rather than skipped"


def nothing_text(run: RunStatistics) -> str | None:
    """Why a run skipped nothing and what to do about it; ``None`` where it skipped something."""
    found = why_nothing(run)
    if found is None:
        return None
    config, total = run.config, run.schedule.total
    words = NOTHING[found.reason].format(
        steps=total,
        few=config.few_steps,
        target=config.target,
        threshold=config.threshold,
        smallest=found.smallest or 0.0,
    )
    return f"Nothing was skipped: {words}"


def in_bytes(count: float) -> str:
    """``3670016`` -> ``3.5 MiB``."""
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} {UNITS[-1]}"
