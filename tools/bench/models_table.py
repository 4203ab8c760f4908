"""The table of models in docs/models.md, from tools/bench/results/families.json: ``make models`` makes both.

The tests write that file: the family table, and how many of them passed for each family.
"""

import bench
from bench import put, table

from dicache_core import method_of
from dicache_core.effective_settings import limit_text
from dicache_core.policies import title
from dicache_core.presets import published

PAGE = bench.DOCS / "models.md"
HEAD = (
    "family", "classes in `comfy.ldm`", "the cache is around", "`published` means", "toy width", "sampled", "trained",
)  # fmt: skip


def markdown(found: dict) -> str:
    """Everything between the markers."""
    families = found["families"]
    sampled = sum(row["sampled"] + row["trained"] > 0 for row in families)
    parts = [
        f"{len(families)} families, tested in ComfyUI {found['comfyui']} unless their row says otherwise; {sampled} of "
        "them through its own sampler. A number is how many tests passed.",
        table(HEAD, [line(row, found["comfyui"]) for row in families]),
    ]
    if streaming := [row["name"] for row in families if row["streams_weights"]]:
        parts.append(
            f"{', '.join(streaming)}: under dynamic VRAM ComfyUI loads the weights of skipped blocks all the same. "
            "`fidelity`, `balanced` and `fast` skip that too."
        )
    return "\n\n".join(parts)


def line(row: dict, host: str) -> tuple[str, ...]:
    classes, blocks = (", ".join(f"`{name}`" for name in row[key]) for key in ("classes", "blocks"))
    config = published(row["architecture"])
    name = "DiCache" if config.indicator == "delta_y" else title(method_of(config))
    family = row["name"] + {host: "", None: " (as its source reads)"}.get(row["comfyui"], f" ({row['comfyui']})")
    counts = [row[kind] or "-" for kind in ("toy", "sampled", "trained")]
    return family, classes, blocks or "the deep part", f"{name}, {limit_text(config)}", *counts


if __name__ == "__main__":
    put(PAGE, models=markdown(bench.results("families.json")))
