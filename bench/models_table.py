"""The table of models in docs/models.md, from bench/results/families.json: ``make models`` makes both.

The tests write that file: the family table, and how many of them passed for each family.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.append(str(REPO))
from tables import written  # noqa: E402

from dicache_core import limit_text, method_of, published, title  # noqa: E402

PAGE = REPO / "docs" / "models.md"
SHOWN = REPO / "bench" / "results" / "families.json"


def shown() -> dict:
    return json.loads(SHOWN.read_text(encoding="utf-8"))


def markdown(found: dict) -> str:
    """Everything between the markers."""
    families = found["families"]
    sampled = sum(row["sampled"] + row["trained"] > 0 for row in families)
    lines = [
        f"{len(families)} families, tested in ComfyUI {found['comfyui']}; {sampled} of them through its own sampler. A "
        "number is how many tests passed.",
        "",
        "| family | classes in `comfy.ldm` | the cache is around | `published` means | toy width | sampled | trained |",
        "|---|---|---|---|---|---|---|",
        *(line(row) for row in families),
    ]
    if streaming := [row["name"] for row in families if row["streams_weights"]]:
        lines += [
            "",
            f"{' and '.join(streaming)}: under dynamic VRAM ComfyUI loads the weights of skipped blocks all the same. "
            "`fidelity`, `balanced` and `fast` skip that too.",
        ]
    return "\n".join(lines)


def line(row: dict) -> str:
    classes = ", ".join(f"`{name}`" for name in row["classes"])
    around = ", ".join(f"`{path}`" for path in row["blocks"]) or "the deep part"
    config = published(row["architecture"])
    counts = [str(row[kind] or "-") for kind in ("toy", "sampled", "trained")]
    name = "DiCache" if config.indicator == "delta_y" else title(method_of(config))
    return "| " + " | ".join([row["name"], classes, around, f"{name}, {limit_text(config)}", *counts]) + " |"


def main() -> int:
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), "models", markdown(shown())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
