"""What a ``bench-real.json`` says: its runs by prompt and way, and what follows from them."""

from __future__ import annotations

import math
from typing import Any

from ways import BALANCED, WITHOUT

Run = dict[str, Any]
RIGHT = {"very close": 40.0, "close": 31.0}  # decibels that an image has which is told to be so: docs/closeness.md


def run_of(found: dict[str, Any], prompt: int, way: str) -> Run | None:
    """A run that was measured and did not fail."""
    same = (run for run in found["runs"] if (run["prompt"], run["way"]) == (prompt, way))
    return next((run for run in same if "failed" not in run), None)


def prompts_of(found: dict[str, Any]) -> list[int]:
    """Prompts with a run to compare with."""
    return [run["prompt"] for run in found["runs"] if run["way"] == WITHOUT]


def worst_first(found: dict[str, Any]) -> list[int]:
    """Prompts whose image ``balanced`` changed most come first."""
    known = [number for number in prompts_of(found) if run_of(found, number, BALANCED)]
    return sorted(known, key=lambda number: decibels(run_of(found, number, BALANCED)))


def decibels(run: Run) -> float:
    """PSNR, infinite where there is no difference at all."""
    return math.inf if run["psnr"] is None else run["psnr"]


def speedup(found: dict[str, Any], run: Run) -> float:
    """Of the nodes that run the model, against the same prompt without a cache."""
    return run_of(found, run["prompt"], WITHOUT)["sampling_seconds"] / run["sampling_seconds"]


def computed(found: dict[str, Any], run: Run) -> int | None:
    """Computed calls of the model.  Nobody counts without a cache: the sampler makes as many as with one."""
    if run["way"] != WITHOUT:
        return run["computed"]
    balanced = run_of(found, run["prompt"], BALANCED)
    return balanced and balanced["evaluations"]


def told_right(run: Run) -> bool | None:
    """Whether the image is as close as DiCache told; ``None`` where it did not tell *close* or *very close*."""
    least = RIGHT.get(run["closeness"])
    return None if least is None else decibels(run) >= least
