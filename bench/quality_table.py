"""The README's quality table and one Pareto plot per model, from the rows of bench/results/quality.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pareto import plot
from tables import README, written

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
SHOWN = (15, 12, 10)  # computed steps in the README; 18 is in the JSON and in the plots
# What the pack's best policy is compared with, and by how many decibels it should be ahead.
WANTED = {"dicache": 6.0, "comfyui_easycache": 4.0, "comfyui_lazycache": 4.0, "fewer_steps": 0.0}

Rows = Sequence[dict]


def best_policy(rows: Rows) -> str:
    """The policy with the highest mean PSNR over all models at the shown levels, of those that ran on most models."""
    models: dict[str, set[str]] = {}
    for row in rows:
        models.setdefault(row["policy"], set()).add(row["architecture"])
    own = {name: len(found) for name, found in models.items() if name not in NAMES}
    names = {name for name, count in own.items() if count == max(own.values())}
    means = {n: [r["psnr_mean"] for r in rows if r["policy"] == n and r["level"] in SHOWN] for n in names}
    return max(means, key=lambda n: sum(means[n]) / max(1, len(means[n])))


def table(rows: Rows, best: str) -> str:
    """PSNR mean and 10th percentile, policies down, models and computed steps across."""
    found = {(r["architecture"], r["policy"], r["level"]): r for r in rows}
    columns = [(a, level) for a in TITLES if _rows_of(rows, a) for level in SHOWN]
    names = sorted(dict.fromkeys(r["policy"] for r in rows), key=lambda n: -_mean(rows, n))
    lines = [
        "| policy | " + " | ".join(f"{TITLES[a]} {level}" for a, level in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name in names:
        cells = [_cell(found.get((a, name, level)), level) for a, level in columns]
        title = NAMES.get(name, f"**{name}**" if name == best else name)
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(rows: Rows, best: str) -> str:
    """Where the best policy is ahead by what was hoped for, and, plainly, where it is not."""
    found = {(r["architecture"], r["policy"], r["level"]): r for r in rows}
    missed, checked = [], 0
    for architecture, policy, level in found:
        if policy == best or level not in SHOWN or (architecture, best, level) not in found:
            continue
        checked += 1
        for key, what in (("psnr_mean", "mean"), ("psnr_p10", "10th percentile")):
            ahead = found[architecture, best, level][key] - found[architecture, policy, level][key]
            if ahead < WANTED.get(policy, 0.0) or (ahead == 0 and policy not in WANTED):
                wanted = f" (hoped for {WANTED[policy]:.0f})" if WANTED.get(policy) else ""
                missed.append(
                    f"- {TITLES[architecture]}, {level} steps, {what}: {ahead:+.1f} dB against "
                    f"{NAMES.get(policy, policy)}{wanted}"
                )
    if not missed:
        return f"`{best}` is ahead of all others in all {checked} comparisons, by the margins hoped for."
    head = f"`{best}` has the highest mean. Where it is **not** ahead by what was hoped for:"
    return "\n".join([head, "", *missed])


def markdown(rows: Rows) -> str:
    """Everything between the markers."""
    best = best_policy(rows)
    samples = " to ".join(str(n) for n in sorted({r["samples"] for r in rows}))
    intro = " ".join(
        [
            f"PSNR of the decoded pictures against the uncached run, mean (10th percentile) of {samples} samples, at",
            "matched computed steps of 30 (euler, simple; Wan and the U-Net with cfg 3, Qwen-Image with 2.5), in",
            "decibels. A count in brackets is the measured one where it could not be matched better than by half a",
            "step. Some latents are smaller than their checkpoint's own, to fit into half an hour on two cores: Flux",
            "20x20, HunyuanVideo 3x12x12, Wan 3x8x8. ComfyUI's own nodes run in bfloat16, compared with the uncached",
            "run in bfloat16: in float32 EasyCache changes the sampler's latent.",
        ]
    )
    plots = " ".join(f"![{t}](bench/results/pareto-{a}.png)" for a, t in TITLES.items() if _rows_of(rows, a))
    return "\n\n".join([intro, table(rows, best), verdict(rows, best), plots])


def publish(rows: Rows, folder: Path) -> None:
    """Plots beside the results, the table into the README."""
    best = best_policy(rows)
    for architecture, title in TITLES.items():
        if mine := _rows_of(rows, architecture):
            plot(mine, title, best, folder / f"pareto-{architecture}.png")
    README.write_text(written(README.read_text(encoding="utf-8"), "quality", markdown(rows)), encoding="utf-8")


def _rows_of(rows: Rows, architecture: str) -> Rows:
    return [r for r in rows if r["architecture"] == architecture]


def _mean(rows: Rows, name: str) -> float:
    values = [r["psnr_mean"] for r in rows if r["policy"] == name and r["level"] in SHOWN]
    return sum(values) / max(1, len(values))


def _cell(row: dict | None, level: int) -> str:
    if row is None:
        return "-"
    off = f" [{row['computed_steps']:.1f}]" if abs(row["computed_steps"] - level) > 0.5 else ""
    return f"{row['psnr_mean']:.1f} ({row['psnr_p10']:.1f}){off}"
