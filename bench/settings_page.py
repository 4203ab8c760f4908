"""docs/settings.md from bench/results/settings.json: every win and every loss of the own policy."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from settings_cells import FEW, GROUPS, MODELS, MORE, Setting

ORACLE = Path(__file__).resolve().parent / "results" / "oracle.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
TITLES = {
    "flux": "Flux",
    "hunyuan_video": "HunyuanVideo",
    "wan": "Wan",
    "qwen_image": "Qwen-Image",
    "z_image": "Z-Image",
    "unet": "U-Net of SD 1.5",
    "flux_reflow": "reflowed Flux",
    "flux_lcm": "consistent Flux",
}
LARGEST = 100
OTHERS = ("paper", "fewer")
TENTH = 1.0  # decibels that the 10th percentile may be below the paper's

Rows = Sequence[dict]


def behind(row: dict, others: Sequence[str] = OTHERS) -> float:
    """Decibels that the own policy's mean is behind the better of the others; 0 where it is first."""
    return max(0.0, *(row[way]["psnr_mean"] - row["own"]["psnr_mean"] for way in others if way in row))


def behind_at_work(row: dict) -> float:
    """The same, the paper's rule with as much work as the own policy where a call that it skips is dear."""
    return behind(row, ("work", "fewer") if "skip_share" in row else OTHERS)


def is_full(row: dict, way: str = "own") -> bool:
    """Whether every call was computed; by the own policy, all ways are the same run then."""
    return row[way]["calls"] >= row["calls"] - 1e-6


def markdown(result: dict) -> str:
    rows = result["rows"]
    parts = ["# The own presets wherever people sample", _intro(result), *_missing(rows)]
    parts += ["## Verdict", verdict(rows), groups(rows)]
    parts += ["## Where it is behind", losses(rows)]
    if ORACLE.is_file():
        parts += ["## What there is to win", bounds(json.loads(ORACLE.read_text(encoding="utf-8")))]
    for model in dict.fromkeys(row["model"] for row in rows):
        how = "tuned on, with other captions" if MODELS[model].tuned else "judged only"
        parts += [f"## {TITLES[model]} ({how})", table([row for row in rows if row["model"] == model])]
    return "\n\n".join(parts) + "\n"


def _intro(result: dict) -> str:
    tuned = ", ".join(TITLES[m] for m in result["tuned_on"]["models"])
    judged = ", ".join(TITLES[m] for m in result["judged_only"]["models"])
    return "\n".join(
        [
            "Made by `make bench-settings` from `bench/results/settings.json`; do not edit. Every cell is one trained",
            "model of `tests/testbed` under one setting, eight captions with two noises each, in the real host, in",
            "float32. PSNR of the decoded pictures against the full run of the same setting, in decibels: mean (10th",
            f"percentile, worst). {LARGEST} dB stands for equal pictures. The number in brackets is computed calls.",
            "Where these pictures leave open who is first, as the distance to the best of the others is less than two",
            "of its standard errors, the same captions with four other noises are added.",
            "",
            "- **own**: this pack's own policy (`fidelity` 1.5x, `balanced` 2x, `fast` 3x).",
            "- **before**: the same preset before it could be vetoed by the model, at the calls that it computed;",
            "  the first pictures in every cell.",
            "- **paper**: DiCache's own rule, steered to the calls that the own policy computed, picture by picture.",
            "- **fewer**: no cache, the same sampler with as many steps as have that number of calls, likewise.",
            "",
            f"The policy was tuned on {tuned} with captions {result['tuned_on']['pictures']}; every row here is of",
            f"captions 8-15 (pictures {result['pictures']}, of 16 captions in turn, and {MORE}).",
            f"{judged} took no part in tuning; the U-Net was trained anew after it.",
        ]
    )


def _missing(rows: Rows) -> list[str]:
    """Names what was not measured, so that a part of the table does not look like all of it."""
    measured = {(row["model"], row["setting"]) for row in rows}
    missing = {m.name: [s.name for s in m.settings if (m.name, s.name) not in measured] for m in MODELS.values()}
    told = [
        TITLES[name] if len(names) == len(MODELS[name].settings) else f"{TITLES[name]} ({', '.join(names)})"
        for name, names in missing.items()
        if names
    ]
    return [f"**Not measured yet**: {', '.join(told)}."] if told else []


def verdict(rows: Rows) -> str:
    lost, full = [row for row in rows if behind(row)], [row for row in rows if is_full(row)]
    tenth = [row for row in rows if row["own"]["psnr_p10"] < row["paper"]["psnr_p10"] - TENTH]
    first, skipped, worst = len(rows) - len(lost), len(rows) - len(full), max(behind(row) for row in rows)
    most = max(row["pictures"] for row in rows)
    more = sum(row["pictures"] == most for row in rows)
    return "\n".join(
        [
            f"First in {first} of {len(rows)} cells ({first / len(rows):.1%}).",
            f"In {len(full)} of them it computed every call, so nothing is faster and nothing lost;",
            f"of the other {skipped} it is first in {skipped - len(lost)}.",
            f"Where it is not first it is behind by up to {worst:.1f} dB. {more} cells are of {most} pictures.",
            f"The 10th percentile is more than {TENTH:.0f} dB below the paper's in {len(tenth)}.",
            *_at_the_same_work(rows),
        ]
    )


def _at_the_same_work(rows: Rows) -> list[str]:
    """What the paper's rule costs where it runs a good part of the model on calls that it skips."""
    dear = {row["model"]: row["skip_share"] for row in rows if "skip_share" in row}
    if not dear:
        return []
    told = ", ".join(f"{TITLES[model]} {share:.0%}" for model, share in dear.items())
    first = sum(not behind_at_work(row) for row in rows)
    return [
        "",
        "The same number of computed calls is not the same work everywhere: a call that the paper's rule skips still",
        f"takes a part of a whole one ({told}, its outermost blocks). With as much work in all (column",
        f'"paper, same work", "-" where those blocks alone take more) the own policy is first in {first} of {len(rows)}'
        f" cells ({first / len(rows):.1%}).",
    ]


def groups(rows: Rows) -> str:
    lines = ["| group | cells | first | own | before | paper | fewer |", "|---|---|---|---|---|---|---|"]
    for group in GROUPS:
        mine = [row for row in rows if row["group"] == group]
        if mine:
            first = sum(not behind(row) for row in mine)
            means = [_mean(mine, way) for way in ("own", "before", *OTHERS)]
            lines.append(f"| {group} | {len(mine)} | {first} | " + " | ".join(means) + " |")
    few = [row for row in rows if row["group"] == FEW and "before" in row]
    whole = sum(is_full(row, "before") for row in few)
    lines += ["", f'Before, nothing was skipped in {whole} of the {len(few)} cells of "{FEW}".'] if few else []
    return "\n".join(["Means of the cells' means, in brackets the mean speed in calls:", "", *lines])


def _mean(rows: Rows, way: str) -> str:
    found = [row[way] for row in rows if way in row]
    if len(found) < len(rows):
        return "-"
    return f"{statistics.fmean(w['psnr_mean'] for w in found):.1f} ({statistics.fmean(w['speed'] for w in found):.2f}x)"


def bounds(found: Rows) -> str:
    """Upper bounds, from bench/oracle.py."""
    lines = [
        "Cells that are not won, and short schedules, where fewer steps are hardest to beat (`make bench-oracle`, same",
        "pictures, no veto): choices of skipped calls were sampled, of short schedules every one, of longer ones those",
        "with one to four computed calls at the start, one to three at the end and evenly spread skips between them.",
        "Mean PSNR in decibels; the best in hindsight is of these choices and the own plan. Where it is behind fewer",
        "steps, none of those that were tried wins with these forecasts; where it is ahead, nothing that a run sees",
        "told which choice that would be. *Knowing* is the own plan with the full run's outputs in place of what the",
        "computed calls gave: what skipped calls are off by themselves, without what the model makes of an `x` that",
        "they left off. It bounds what making up for that can win. More of what was tried: [tried.md](tried.md).",
        "",
        "| model | setting | computed | choices | best in hindsight | own plan | knowing | fewer steps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        columns = (TITLES[row["model"]], row["setting"], f"{row['computed']} of {row['calls']}", _tried(row))
        best = max(row["best_psnr"], row["own_psnr"])
        psnr = (f"{value:.1f}" for value in (best, row["own_psnr"], row["knowing_psnr"], row["fewer_psnr"]))
        lines.append("| " + " | ".join(map(str, (*columns, *psnr))) + " |")
    return "\n".join(lines)


def _tried(row: dict) -> str:
    possible = math.comb(row["calls"] - 2, row["computed"] - 2)
    return f"all {possible}" if row["choices"] == possible else str(row["choices"])


def losses(rows: Rows) -> str:
    lines = []
    for row in sorted(rows, key=behind, reverse=True):
        tenth = row["paper"]["psnr_p10"] - row["own"]["psnr_p10"]
        told = [f"{behind(row):.1f}{_error(row)} dB behind {_winner(row)}"] if behind(row) else []
        told += [f"10th percentile {tenth:.1f} dB below the paper's"] if tenth > TENTH else []
        if told:
            lines.append(f"- {TITLES[row['model']]}, {row['setting']}, {row['target']}: {', '.join(told)}")
    return "\n".join(lines) or "Nowhere."


def _best(row: dict) -> str:
    """The better of the other ways."""
    return max(OTHERS, key=lambda way: row[way]["psnr_mean"])


def _winner(row: dict) -> str:
    return {"paper": "the paper's rule", "fewer": "fewer steps"}[_best(row)]


def _error(row: dict) -> str:
    """Of the distance to it, picture by picture."""
    return f" (+-{row['lead'][_best(row)]['error']:.1f})"


def table(rows: Rows) -> str:
    dear = any("skip_share" in row for row in rows)
    ways = ("own", "before", "paper", *(["work"] if dear else []), "fewer")
    titles = ("setting", "sampling", "speed", *("paper, same work" if way == "work" else way for way in ways))
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        setting = MODELS[row["model"]].setting(row["setting"])
        best = max(row[way]["psnr_mean"] for way in ("own", *OTHERS))
        cells = [_cell(row.get(way), best, way in ("own", *OTHERS)) for way in ways]
        sampling = f"{described(setting)}, {row['pictures']} pictures"
        lines.append(f"| {row['setting']} | {sampling} | {row['target']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(way: dict | None, best: float, may_win: bool) -> str:
    if way is None:
        return "-"
    mean = f"**{way['psnr_mean']:.1f}**" if may_win and way["psnr_mean"] == best else f"{way['psnr_mean']:.1f}"
    return f"{mean} ({way['psnr_p10']:.1f}, {way['psnr_worst']:.1f}) [{way['calls']:g}]"


def described(setting: Setting) -> str:
    """In the words of a sampler node."""
    extras = [
        ("denoise 0.6", setting.denoise != 1),
        ("another cfg", setting.guided),
        ("another shift", setting.shifted),
    ]
    extras.append(("larger", setting.scale != 1))
    words = [f"{setting.sampler}, {setting.scheduler}, {setting.steps} steps", *(text for text, on in extras if on)]
    return ", ".join(words)


def publish(result: dict) -> None:
    PAGE.write_text(markdown(result), encoding="utf-8")
