"""docs/quality.md, the short table in the README and a Pareto plot per model, from bench/results/quality.json."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from pareto import plot
from tables import README, REPO, written

sys.path.append(str(REPO))
from dicache_core.known.policies import KNOWN
from dicache_core.names import title as policy_title

PAGE = REPO / "docs" / "quality.md"
TITLES = {
    "flux": "Flux",
    "hunyuan_video": "HunyuanVideo",
    "wan": "Wan",
    "z_image": "Z-Image",
    "qwen_image": "Qwen-Image",
    "unet": "U-Net",
}
NAMES = {
    "fewer_steps": "simply fewer steps",
    "comfyui_easycache": "ComfyUI's EasyCache node",
    "comfyui_lazycache": "ComfyUI's LazyCache node",
}
OWN = "foreseen"  # of the presets fidelity, balanced and fast
CHOICES = {  # what a user would choose from; the best of the known methods stands between
    OWN: "`balanced`, `fast` (policy foreseen)",
    "fewer_steps": "simply fewer steps",
    "dicache": "DiCache, as published",
    "comfyui_easycache": "ComfyUI's EasyCache",
}
SHOWN = (15, 12, 10)  # computed steps of 30 on the page; 18 is in the JSON and in the plots
SHORT = (15, 10)  # in the README
# What the own policy is compared with, and by how many decibels it should be ahead.
WANTED = {"dicache": 6.0, "comfyui_easycache": 4.0, "comfyui_lazycache": 4.0, "fewer_steps": 0.0}
MEAN, TENTH = "psnr_mean", "psnr_p10"
HALF = 0.5  # of a step: what a count may be off without a word
ONE_SEED = 16  # captions

Rows = Sequence[dict]
Cells = dict[tuple[str, str, int], dict]  # (model, policy, level) -> row


def publish(rows: Rows, folder: Path) -> None:
    """Plots beside the results, the tables into the page and the README."""
    for architecture in measured_models(rows):
        mine = [row for row in rows if row["architecture"] == architecture]
        plot(mine, TITLES[architecture], OWN, folder / f"pareto-{architecture}.png")
    for path, table in ((PAGE, page(rows)), (README, short_table(rows))):
        path.write_text(written(path.read_text(encoding="utf-8"), "quality", table), encoding="utf-8")


def page(rows: Rows) -> str:
    """Everything between the markers of docs/quality.md."""
    plots = " ".join(f"![{TITLES[a]}](../bench/results/pareto-{a}.png)" for a in measured_models(rows))
    return "\n\n".join(
        [
            samples_of(rows),
            "## Where the pack's own policy stands\n\n" + verdict(rows),
            "## Mean",
            table(rows, MEAN),
            "## 10th percentile\n\nOne picture in ten is worse than this.",
            table(rows, TENTH),
            "## Plots",
            plots,
        ]
    )


def samples_of(rows: Rows) -> str:
    """How many pictures stand behind the rows."""
    counts = {a: sorted({r["samples"] for r in rows if r["architecture"] == a}) for a in measured_models(rows)}
    text = "Pictures per row: " + ", ".join(f"{TITLES[a]} {' or '.join(map(str, n))}" for a, n in counts.items()) + "."
    fewer = [r["policy"] for r in rows if r["samples"] <= ONE_SEED < max(counts[r["architecture"]])]
    if fewer:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(fewer))
        text += f" Rows of {ONE_SEED} have the first of two seeds only: {names} on some models."
    return text


def table(rows: Rows, value: str) -> str:
    """Policies down, models across; in each cell one number per level."""
    found, models = cells(rows), measured_models(rows)
    levels = " / ".join(map(str, SHOWN))
    lines = [
        f"| policy, at {levels} steps | " + " | ".join(TITLES[a] for a in models) + " |",
        "|---|" + "---|" * len(models),
    ]
    for name in sorted({name for _, name, _ in found}, key=lambda n: -standing(found, n)):
        mine = [" / ".join(_number(found.get((a, name, level)), level, value) for level in SHOWN) for a in models]
        lines.append(f"| {row_title(name)} | " + " | ".join("-" if set(m) <= set("- /") else m for m in mine) + " |")
    return "\n".join(lines)


def short_table(rows: Rows) -> str:
    """Five rows that a user would choose from."""
    found, models = cells(rows), shown_models(rows)
    best = max((n for n in known(rows) if everywhere(rows, n)), key=lambda n: standing(found, n))
    titles = {OWN: CHOICES[OWN], best: f"{policy_title(best)}, the best of the known ones", **CHOICES}
    lines = [
        f"| PSNR in dB, {' / '.join(map(str, SHORT))} steps | " + " | ".join(TITLES[a] for a in models) + " |",
        "|---|" + "---|" * len(models),
    ]
    for name, title in titles.items():
        mine = [" / ".join(_number(found.get((a, name, n)), n, MEAN, counts=False) for n in SHORT) for a in models]
        lines.append(f"| {title} | " + " | ".join(mine) + " |")
    return "\n".join(lines)


def verdict(rows: Rows) -> str:
    """Where the own policy is ahead, by how much of the best of the known ones, and, plainly, where it is not."""
    found = cells(rows)
    places = [place for place in product(shown_models(rows), SHOWN) if _key(place, OWN) in found]
    parts = []
    for value, what in ((MEAN, "mean"), (TENTH, "10th percentile")):
        ahead = sum(max(_of(found, place, value).values()) == found[_key(place, OWN)][value] for place in places)
        parts.append(f"the highest {what} in {ahead} of {len(places)} cells")
    known_ones = [
        "| cell | best of the known methods | mean, dB | `foreseen` | difference |",
        "|---|---|---|---|---|",
        *(_against_known(found, place) for place in places),
    ]
    behind = [line for place in places for line in _behind(found, place)]
    short = [line for place in places for line in _short_of(found, place)]
    return "\n\n".join(
        [
            f"`{OWN}` has {' and '.join(parts)}. Against the best of the known methods, cell by cell:",
            "\n".join(known_ones),
            "Where another policy is **ahead** of it:" if behind else "No policy is ahead of it anywhere.",
            *(["\n".join(behind)] if behind else []),
            "Where it is ahead by **less than hoped for**:" if short else "It is ahead of all baselines as hoped for.",
            *(["\n".join(short)] if short else []),
        ]
    )


def _against_known(found: Cells, place: tuple[str, int]) -> str:
    values = {n: v for n, v in _of(found, place, MEAN).items() if n in KNOWN}
    own = found[_key(place, OWN)][MEAN]
    if not values:
        return f"| {_cell(place)} | none measured | - | {own:.1f} | - |"
    best = max(values, key=values.__getitem__)
    return f"| {_cell(place)} | `{best}` | {values[best]:.1f} | {own:.1f} | {own - values[best]:+.1f} |"


def _behind(found: Cells, place: tuple[str, int]) -> Iterable[str]:
    for value, what in ((MEAN, "mean"), (TENTH, "10th percentile")):
        values, own = _of(found, place, value), found[_key(place, OWN)][value]
        ahead = {n: v - own for n, v in values.items() if round(v - own, 1) > 0}
        if ahead:
            names = ", ".join(f"`{n}` {ahead[n]:+.1f}" for n in sorted(ahead, key=lambda n: -ahead[n]))
            yield f"- {_cell(place)}, {what}: {names} dB"


def _short_of(found: Cells, place: tuple[str, int]) -> Iterable[str]:
    for value, what in ((MEAN, "mean"), (TENTH, "10th percentile")):
        values, own = _of(found, place, value), found[_key(place, OWN)][value]
        for name, wanted in WANTED.items():
            if name in values and 0 <= own - values[name] < wanted:
                ahead = own - values[name]
                yield f"- {_cell(place)}, {what}: {ahead:+.1f} dB of {wanted:.0f} against {NAMES.get(name, name)}"


def cells(rows: Rows) -> Cells:
    return {(r["architecture"], r["policy"], r["level"]): r for r in rows}


def shown_models(rows: Rows) -> list[str]:
    """Models that have a row of the own policy: without it there is nothing to compare with."""
    measured = {r["architecture"] for r in rows if r["policy"] == OWN}
    return [architecture for architecture in TITLES if architecture in measured]


def measured_models(rows: Rows) -> list[str]:
    """Models that have any row."""
    measured = {r["architecture"] for r in rows}
    return [architecture for architecture in TITLES if architecture in measured]


def known(rows: Rows) -> list[str]:
    return [name for name in dict.fromkeys(r["policy"] for r in rows) if name in KNOWN]


def everywhere(rows: Rows, name: str) -> bool:
    """Whether a known method was measured on every model that any of them was measured on."""
    models = {r["architecture"] for r in rows if r["policy"] == name}
    return models >= {r["architecture"] for r in rows if r["policy"] in KNOWN} & set(shown_models(rows))


def standing(found: Cells, name: str) -> float:
    """Mean distance from the own policy over the cells that both have: some run on some models only."""
    own = {(a, n): row[MEAN] for (a, policy, n), row in found.items() if policy == OWN and n in SHOWN}
    values = [found[_key(place, name)][MEAN] - value for place, value in own.items() if _key(place, name) in found]
    return sum(values) / len(values) if values else -math.inf


def row_title(name: str) -> str:
    """Methods of others stand plain, this pack's own in bold."""
    others = name in KNOWN or name in ("dicache", "dicache_delta_minus")
    return NAMES.get(name, name if others else f"**{name}**")


def _of(found: Cells, place: tuple[str, int], value: str) -> dict[str, float]:
    """Policy -> value in one cell."""
    return {name: row[value] for (a, name, level), row in found.items() if (a, level) == place}


def _key(place: tuple[str, int], name: str) -> tuple[str, str, int]:
    return place[0], name, place[1]


def _cell(place: tuple[str, int]) -> str:
    return f"{TITLES[place[0]]}, {place[1]} steps"


def _number(row: dict | None, level: int, value: str, counts: bool = True) -> str:
    """A cell's number, and the measured count where it could not be matched."""
    if row is None:
        return "-"
    off = f" [{row['computed_steps']:.1f}]" if counts and abs(row["computed_steps"] - level) > HALF else ""
    return f"{row[value]:.1f}{off}"
