"""The policies that decide on parts of the stack, beside whole-step policies at the same share: ``make bench-parts``.

A part of a step is worth the share of its blocks that ran.  What a policy computes of 30 Euler steps is measured, and
DiCache, the forecast method and fewer steps are set to as many whole steps.  Writes tools/bench/results/parts.json and
the table of docs/quality.md; ``--page`` makes the table again, and ``--quick`` only shows that all this runs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import bench
import torch
from bench import put, table
from cells import TITLES, Cell
from quality import PAGE, STEPS, Matcher, cell_of, policy_for

COUNTS = (20, 15)  # of the steps: what thresholds are set to, where they come so far
OTHERS = {"dicache": "dicache", "forecast": "forecast method", "fewer": "fewer steps"}
# The middle half of each part of the testbed's models, as published lists are of deeper ones.
LISTS = {"flux": "double 1-2, single 2-5", "hunyuan_video": "double 1-2, single 2-5", "wan": "blocks 4-10"}
QUICK_STEPS = 8


@dataclass(frozen=True)
class Place:
    """A model under a policy; ``count`` steps asked of its threshold, 0 for its own settings."""

    model: str
    policy: str
    count: int = 0
    images: int = 16
    steps: int = STEPS

    @property
    def cell(self) -> Cell:
        return cell_of(self.model, self.steps, tuple(range(self.images)), 0, torch.float32)


PLACES = (
    *(Place(model, "profilingdit") for model in LISTS),
    *(Place(model, "h2cache", count) for model in ("flux", "hunyuan_video") for count in COUNTS),
    *(Place(model, "block_mask") for model in LISTS),
)


def measure(place: Place) -> dict:
    """A row: the share that was computed, in steps, and the decibels of each way."""
    cell, config = place.cell, settings(place)
    if place.count:
        matcher = Matcher(lambda threshold: cell.run(replace(config, threshold=threshold))[2].ran, config.threshold)
        config = replace(config, threshold=matcher.threshold(place.count))
    found = cell.cached(config)
    steps = found["run"].ran
    whole = max(2, round(steps))
    row = {"model": place.model, "policy": place.policy, "asked": place.count, "steps": steps, "whole": whole}
    row |= {"threshold": None if config.mask else config.threshold, "list": config.mask, "images": place.images}
    ways = {place.policy: found} | {name: other(cell, name, whole) for name in OTHERS}
    row["psnr"] = {name: [round(fmean(way["psnr"]), 2), round(min(way["psnr"]), 2)] for name, way in ways.items()}
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}


def settings(place: Place) -> object:
    cell = place.cell
    policy = policy_for(cell, place.policy)
    if place.policy == "profilingdit":
        policy = replace(policy, mask=LISTS[place.model])
    return cell.settings_of(policy)


def other(cell: Cell, name: str, steps: int) -> dict:
    if name == "fewer":
        return cell.fewer(steps)
    return cell.cached(cell.settings_of(replace(cell.core.policies.POLICIES[name], target=str(steps))))


def markdown(rows: Sequence[dict]) -> str:
    head = ("model", "policy", "steps computed", "mean (worst)", *(f"{title}" for title in OTHERS.values()))
    return table(head, lines(rows))


def lines(rows: Sequence[dict]) -> Iterator[tuple]:
    for row in rows:
        shown = ["{:.1f} ({:.1f})".format(*row["psnr"][name]) for name in (row["policy"], *OTHERS)]
        how = f"`{row['policy']}`, {row['list'] or 'threshold {:.3g}'.format(row['threshold'])}"
        yield (TITLES[row["model"]], how, f"{row['steps']:.1f} of {STEPS}, {row['whole']}", *shown)


def main() -> None:
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--page", action="store_true", help="measure nothing, write the table of docs/quality.md")
    options = parser.parse_args()
    if options.page:
        return put(PAGE, parts=markdown(bench.results("parts.json")))
    places = [Place("flux", "profilingdit", 0, 1, QUICK_STEPS)] if options.quick else PLACES
    rows = bench.measured(measure, places, options.jobs, options.quick)
    for row in rows:
        print(f"{row['model']:14} {row['policy']:13} {row['steps']:5.1f} {row['psnr']}")
    bench.write("parts.json", rows, options.quick)
    return None if options.quick else put(PAGE, parts=markdown(rows))


if __name__ == "__main__":
    main()
