"""The hard images of a cell, not only its mean: ``make bench-hard``.

Every cell is one trained model at one size under one sampler at one speed, and 48 images that nothing was tuned on: the
forecast method, the paper's rule and fewer steps with as many computed calls, in the mean over the images, each against
the full run.  Of every way the mean of all images, the mean of the worst six and the worst.

Writes tools/bench/results/hard.json, the table of docs/settings.md and a line of the README; ``--page`` makes them
again, and ``--quick`` only shows that all this runs.  ``--own-only --to hard_before.json`` keeps the forecast method's
columns alone, and ``--against`` says what has changed since such a file.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import bench
from bench import put, table
from cells import TITLES, Model, Setting, together
from settings import CHECKPOINTS, JUDGED, MORE, OTHERS, PAGE, Steered, cells_of

IMAGES = f"{JUDGED},{MORE}"  # captions 8 to 15 with six noises each
TARGETS = ("2x", "3x")
WORST = 6  # images
ROOM = 1.0  # decibels that the worst ones may be behind the paper's rule
FILE = bench.RESULTS / "hard.json"
BEFORE = bench.RESULTS / "hard_before.json"  # of the plan that this one took the place of

EULER, LONG = Setting("euler30", "", 30), Setting("euler50", "", 50)
SETTINGS = (EULER, Setting("2m_sgm25", "", 25, "dpmpp_2m", "sgm_uniform"), Setting("unipc20", "", 20, "uni_pc"))
QUICK = Setting("euler12", "", 12)
LARGER = {  # about twice the edge of the settings bench, or half as much more where that takes too long
    "flux": {"size": 24}, "hunyuan_video": {"size": 12, "frames": 5}, "wan": {"size": 12, "frames": 5},
    "qwen_image": {"size": 16}, "z_image": {"size": 20}, "unet": {"size": 12},
}  # fmt: skip
WAYS = {"own": "forecast", "paper": "paper", "fewer": "fewer"}
VALUES = {"psnr_mean": "mean", "psnr_six": "worst six", "psnr_worst": "worst"}

Rows = Sequence[dict]


@dataclass(frozen=True)
class Place:
    """A model at a size under a setting, for ``images`` in spans."""

    model: str
    setting: Setting
    larger: bool = False
    images: str = IMAGES
    targets: tuple[str, ...] = TARGETS
    alone: bool = False  # neither the paper's rule nor fewer steps

    @property
    def sized(self) -> Model:
        model = CHECKPOINTS[self.model].model
        return replace(model, **LARGER[self.model]) if self.larger else model


def places() -> list[Place]:
    """All of them, of a model the larger size last."""
    found = []
    for model in LARGER:
        found += [Place(model, setting) for setting in (*SETTINGS, LONG)]
        found += [Place(model, setting, larger=True) for setting in SETTINGS]
    return found


def measure(place: Place) -> list[dict]:
    """A row for each speed; they share the full runs."""
    cells = cells_of(place.sized, place.setting, place.images)
    return [row_of(place, cells, target) for target in place.targets]


def row_of(place: Place, cells: Sequence[Steered], target: str) -> dict:
    ways = {"own": [cell.own(target) for cell in cells]}
    calls = together(ways["own"])["calls"]
    if not place.alone:
        ways |= {name: [getattr(cell, f"{name}_at")(calls) for cell in cells] for name in OTHERS}
    row = {"model": place.model, "size": size_of(place.sized), "larger": place.larger}
    row |= {"setting": place.setting.name, "target": target, "calls": cells[0].reference[1]}
    return row | {name: summary(together(rows)) for name, rows in ways.items()}


def size_of(model: Model) -> str:
    """Cells of the latent, frames first."""
    return f"{model.frames}x{model.size}x{model.size}" if model.frames else f"{model.size}x{model.size}"


def summary(row: dict) -> dict:
    """Columns of one way to sample."""
    ordered = sorted(row["psnr"])
    found = {"psnr_mean": fmean(ordered), "psnr_six": fmean(ordered[:WORST]), "psnr_worst": ordered[0]}
    return {"calls": round(row["calls"], 2), **{name: round(value, 2) for name, value in found.items()}}


# The page


def publish(rows: Rows, before: Rows) -> None:
    put(PAGE, hard=markdown(rows, before))
    put(bench.README, hard=line_of(rows))


def line_of(rows: Rows) -> str:
    """What the README says of the worst images."""
    mine = [row for row in rows if row["target"] == TARGETS[0]]
    if not mine:
        return ""
    own, paper, fewer = (f"{fmean(row[way]['psnr_six'] for row in mine):.1f}" for way in WAYS)
    told = f"`balanced` {own} dB, the paper's rule {paper}, fewer steps {fewer}"
    return f"Worst six of 48 images, mean of {len(mine)} cells: {told}."


def markdown(rows: Rows, before: Rows = ()) -> str:
    """Everything between the markers."""
    if not rows:
        return "**Not measured yet**: `make bench-hard` writes its tables here."
    parts = [*_missing(rows), verdict(rows), in_short(rows)]
    if before:
        parts.append(f"Against the plan before this one:\n\n{against(rows, before)}")
    parts += ["### Where the worst six are behind", behind(rows)]
    for model in dict.fromkeys(row["model"] for row in rows):
        parts += [f"### Hard images of {TITLES[model]}", rows_of([row for row in rows if row["model"] == model])]
    return "\n\n".join(parts)


def _missing(rows: Rows) -> Iterator[str]:
    """Names what was not measured."""
    measured = {(row["model"], row["size"], row["setting"]) for row in rows}
    missing = [
        f"{TITLES[place.model]} {size_of(place.sized)} {place.setting.name}"
        for place in places()
        if (place.model, size_of(place.sized), place.setting.name) not in measured
    ]
    if missing:
        yield f"**Not measured yet**: {', '.join(missing)}."


def short_of(row: dict, other: str = "paper", value: str = "psnr_six") -> float:
    """Decibels that the forecast method is behind another way; below 0 where it is ahead."""
    return round(row[other][value] - row["own"][value], 2)


def is_first(row: dict) -> bool:
    return all(short_of(row, other, "psnr_mean") <= 0 for other in OTHERS)


def verdict(rows: Rows) -> str:
    larger = [row for row in rows if row["larger"]]
    six, worst = [short_of(row) for row in rows], max(rows, key=short_of)
    lines = [
        f"The forecast method has the highest mean in {sum(map(is_first, rows))} of {len(rows)} cells.",
        f"At the larger sizes it has it in {sum(map(is_first, larger))} of {len(larger)}.",
        f"The mean of its worst six is behind that of the paper's rule in {sum(lost > 0 for lost in six)} cells.",
        f"In {sum(lost > ROOM for lost in six)} of them it is behind by more than {ROOM:.0f} dB.",
    ]
    if short_of(worst) > 0:
        lines.append(f"The most is {short_of(worst):.1f} dB ({where(worst)}).")
    lines.append(
        "Against fewer steps it is behind in"
        f" {sum(short_of(row, 'fewer') > 0 for row in rows)}, by more than {ROOM:.0f} dB in"
        f" {sum(short_of(row, 'fewer') > ROOM for row in rows)}."
    )
    return "\n".join(lines)


def in_short(rows: Rows) -> str:
    """Means over the cells, by speed and by size."""
    lines = []
    for target in TARGETS:
        for larger, size in ((False, "usual"), (True, "larger")):
            mine = [row for row in rows if (row["target"], row["larger"]) == (target, larger)]
            if mine:
                lines.append((target, size, len(mine), *(_triple(mine, way) for way in WAYS)))
    heads = (f"{title}: {', '.join(VALUES.values())}" for title in WAYS.values())
    return f"Means over the cells:\n\n{table(('speed', 'size', 'cells', *heads), lines)}"


def _triple(rows: Rows, way: str) -> str:
    return ", ".join(f"{fmean(row[way][value] for row in rows):.1f}" for value in VALUES)


def behind(rows: Rows) -> str:
    lost = sorted((row for row in rows if short_of(row) > 0), key=short_of, reverse=True)
    return "\n".join(f"- {where(row)}: {short_of(row):.1f} dB behind the paper's rule" for row in lost) or "Nowhere."


def against(rows: Rows, before: Rows) -> str:
    """What has changed since ``before`` in the cells that both have, by speed: means over cells, and the extremes."""
    known = {place_of(row): row["own"] for row in before}
    lines = []
    for target in TARGETS:
        pairs = [
            (row["own"], known[place_of(row)]) for row in rows if row["target"] == target and place_of(row) in known
        ]
        if pairs:
            changes = {name: [new[name] - old[name] for new, old in pairs] for name in (*VALUES, "calls")}
            means = (f"{fmean(changes[name]):+.2f}" for name in VALUES)
            six = changes["psnr_six"]
            more = sum(change > 0 for change in changes["calls"])
            calls = f"{fmean(changes['calls']):+.2f}, more in {more}"
            lines.append((target, len(pairs), *means, f"{min(six):+.1f} to {max(six):+.1f}", calls))
    heads = (f"{title}, dB" for title in VALUES.values())
    return table(("speed", "cells", *heads, "worst six of one cell", "computed calls"), lines)


def place_of(row: dict) -> tuple[str, ...]:
    return tuple(row[name] for name in ("model", "size", "setting", "target"))


def where(row: dict) -> str:
    return ", ".join((f"{TITLES[row['model']]} {row['size']}", row["setting"], row["target"]))


def rows_of(rows: Rows) -> str:
    """The table of one model."""

    def cell(row: dict, way: str) -> str:
        found = row[way]
        best = found["psnr_six"] == max(row[name]["psnr_six"] for name in WAYS)
        six = f"**{found['psnr_six']:.1f}**" if best else f"{found['psnr_six']:.1f}"
        return f"{found['psnr_mean']:.1f} / {six} / {found['psnr_worst']:.1f} [{found['calls']:g}]"

    lines = [(row["size"], row["setting"], row["target"], *(cell(row, way) for way in WAYS)) for row in rows]
    return table(("size", "setting", "speed", *WAYS.values()), lines)


def rows_in(path: Path) -> list[dict]:
    """Of a file that this bench wrote; none where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []


def main() -> None:
    names = [setting.name for setting in (*SETTINGS, LONG)]
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--model", action="append", choices=LARGER, help="only this one (repeatable)")
    parser.add_argument("--setting", action="append", choices=names, help="only this one (repeatable)")
    parser.add_argument("--size", choices=("usual", "larger"), help="only this one")
    parser.add_argument("--target", action="append", help="speed, in place of 2x and 3x (repeatable)")
    parser.add_argument("--own-only", action="store_true", help="neither the paper's rule nor fewer steps")
    parser.add_argument("--to", help="a file of tools/bench/results to write, in place of hard.json and the page")
    parser.add_argument("--against", type=Path, default=BEFORE, help="rows of another plan to compare with")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the table of docs/settings.md")
    options = parser.parse_args()
    before = rows_in(options.against)
    if options.page:
        return publish(rows_in(FILE), before)
    chosen = [
        replace(place, alone=options.own_only, targets=tuple(options.target or TARGETS))
        for place in places()
        if place.model in (options.model or LARGER)
        and place.setting.name in (options.setting or names)
        and options.size in (None, "larger" if place.larger else "usual")
    ]
    if options.quick:
        chosen = [Place("flux", QUICK, images="8-9", targets=TARGETS[:1])]
    rows = [row for found in bench.measured(measure, chosen, options.jobs, options.quick) for row in found]
    for row in rows:
        told = "  ".join(f"{name} [{row[name]['calls']:4.1f}] {_triple([row], name)}" for name in WAYS if name in row)
        print(f"{where(row):40} {told}")
    if before and not options.quick:
        print(against(rows, before))
    if options.quick or options.to:
        bench.write(options.to or FILE.name, {"images": IMAGES, "rows": rows}, options.quick)
    elif not options.own_only and not options.target:
        rows = bench.merged(rows_in(FILE), rows, "model", "size", "setting", "target")
        order = [(place.model, size_of(place.sized), place.setting.name) for place in places()]
        rows.sort(key=lambda row: (order.index(place_of(row)[:3]), row["target"]))
        bench.write(FILE.name, {"images": IMAGES, "rows": rows})
        publish(rows, before)
    return None


if __name__ == "__main__":
    main()
