"""The figures in docs/tune.md, from bench/results/tune.json: ``make bench-tune`` makes both."""

from __future__ import annotations

import json
import sys

from settings_page import TITLES
from tables import REPO, written
from tune import JUDGED_ON, SIZES

PAGE = REPO / "docs" / "tune.md"
RESULTS = REPO / "bench" / "results" / "tune.json"


def markdown(found: dict) -> str:
    """Everything between the markers."""
    return "\n".join(
        [
            f"Tuned on {found['tuned_on']} captions, {found['tunings']} times from other seeds, and judged on "
            f"{len(JUDGED_ON)} others, at {found['steps']} steps, in ComfyUI {found['comfyui']}. A case is one caption "
            "under one choice.",
            "",
            *verdict(found),
            *short(found),
            *missing(found),
            "",
            "| model | asked | chosen | kept | calls computed | worst PSNR | worst SSIM | full runs | `balanced` |",
            "|---|---|---|---|---|---|---|---|---|",
            *(line(row) for row in found["rows"]),
        ]
    )


def verdict(found: dict) -> list[str]:
    """What was promised, and whether it holds."""
    slower = found["slower_than_balanced"]
    promised = "as promised" if found["kept_share"] >= found["wanted_share"] else "**short of the promise**"
    return [
        f"- The quality was kept in {found['kept']} of {found['cases']} cases ({found['kept_share']:.0%}), "
        f"{found['wanted_share']:.0%} being promised: {promised}.",
        f"- `balanced` keeps the quality, on that share of the captions, in {found['balanced_keeps']} of "
        f"{len(found['rows'])} rows. Tuning, its choices taken together, is slower there in "
        f"{', '.join(slower) or 'none'}.",
        f"- A tuning took {found['most_full_runs']:.2f} full runs at most.",
    ]


def short(found: dict) -> list[str]:
    """Models on which the promise is not kept, taken by themselves."""
    told = []
    for name in dict.fromkeys(row["architecture"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["architecture"] == name]
        kept, cases = sum(row["kept"] for row in rows), sum(row["cases"] for row in rows)
        if kept < found["wanted_share"] * cases:
            told.append(f"{TITLES[name]} ({kept} of {cases})")
    return [f"- Short of it by itself: {', '.join(told)}."] if told else []


def missing(found: dict) -> list[str]:
    """Names what was not measured, so that a part does not look like the whole."""
    measured = {row["architecture"] for row in found["rows"]}
    names = [TITLES[name] for name in SIZES if name not in measured]
    return [f"- **Not measured yet**: {', '.join(names)}."] if names else []


def line(row: dict) -> str:
    cells = [
        TITLES[row["architecture"]],
        row["want"],
        ", ".join(row["chosen"]),
        f"{row['kept']} of {row['cases']}",
        f"{row['computed']:.0%}",
        f"{row['psnr_worst']:.1f} dB",
        f"{row['ssim_worst']:.3f}",
        f"{row['full_runs']:.2f}",
        f"{row['balanced_kept']} ({row['balanced_computed']:.0%})",
    ]
    return f"| {' | '.join(cells)} |"


def publish(found: dict) -> None:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), "tune", markdown(found)), encoding="utf-8")


def main() -> int:
    publish(json.loads(RESULTS.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
