"""A Markdown table of ``bench-real.json`` files: ``python real_table.py FILE...``."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from findings import Run, computed, decibels, prompts_of, run_of, speedup, told_right
from ways import TITLES, WAYS, WITHOUT

TITLE_ROW = ("way", "computed calls", "speed-up", "PSNR, mean", "worst", "SSIM", "LPIPS", "closeness right")
HIGHEST = 100.0  # decibels that an image without any difference counts in a mean


def tables(files: Iterable[dict[str, Any]]) -> str:
    """A heading and a table for each file, sorted by family and size."""
    ordered = sorted(files, key=lambda found: (found["name"], found["width"] * found["height"], found["images"]))
    return "\n\n".join(f"{heading(found)}\n\n{table(found)}" for found in ordered)


def heading(found: dict[str, Any]) -> str:
    """What was sampled, where and how often."""
    size = f"{found['width']}x{found['height']}" + (f", {found['images']} frames" if found["images"] > 1 else "")
    sampling = found["sampling"]
    how = ", ".join(map(str, (*sampling["sampler"], *sampling["scheduler"])))
    steps = " and ".join(map(str, sampling["steps"]))
    where = f"{found['place']['device']}, {found['place']['memory_gb']:g} GB"
    return (
        f"**{found['name']}**, {size}, {steps} steps, {how}. {len(prompts_of(found))} prompts on {where}; "
        f"DiCache {found['pack']} ({found['code']}), ComfyUI {found['place']['comfyui']}."
    )


def table(found: dict[str, Any]) -> str:
    lines = [TITLE_ROW, ["---"] * len(TITLE_ROW), *(row(found, way) for way in WAYS if any(_runs(found, way)))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def row(found: dict[str, Any], way: str) -> list[str]:
    """Means over the prompts; the speed-up is their median."""
    runs = list(_runs(found, way))
    counted = [count for run in runs if (count := computed(found, run)) is not None]
    calls = f"{statistics.fmean(counted):.3g}" if counted else "-"
    if way == WITHOUT:
        seconds = statistics.median(run["sampling_seconds"] for run in runs)
        return [TITLES[way], calls, f"{seconds:.3g} s", "", "", "", "", ""]
    values = [min(decibels(run), HIGHEST) for run in runs]
    speed = statistics.median(speedup(found, run) for run in runs)
    return [
        TITLES[way],
        calls,
        f"{speed:.2f}x",
        f"{statistics.fmean(values):.1f}",
        f"{min(values):.1f}",
        f"{statistics.fmean(run['ssim'] for run in runs):.3f}",
        _mean(run["lpips"] for run in runs),
        _right(runs),
    ]


def _runs(found: dict[str, Any], way: str) -> Iterator[Run]:
    return (run for number in prompts_of(found) if (run := run_of(found, number, way)))


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.fmean(known):.3f}" if known else "-"


def _right(runs: list[Run]) -> str:
    """How many of the images that are told to be close or very close are so."""
    told = [right for run in runs if (right := told_right(run)) is not None]
    return f"{sum(told)} of {len(told)}" if told else "-"


if __name__ == "__main__":
    print(tables(json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]))
