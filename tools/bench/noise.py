"""The forecast presets under samplers that add noise: ``make bench-noise``.

A cell is one model under one sampler with one preset, against the full run, beside the paper's rule, EasyCache and
fewer steps with as many calls.  Total variation and the highest band of frequencies say whether images got grain or
were smoothed.  Writes tools/bench/results/noise.json and the table of docs/settings.md; ``--sheet FILE`` also shows
some images, ``--page`` makes the table again, and ``--quick`` only shows that all this runs.
"""

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

import bench
import torch
from bench import table
from cells import TITLES, Setting, together
from settings import CHECKPOINTS, PAGE, Steered, cells_of

from dicache_core.methods.rings import Rings
from dicache_core.presets import PRESETS

IMAGES = "12-15"  # captions that nothing was tuned on, nor looked at before
SAMPLERS = ("euler_ancestral", "dpmpp_2m_sde", "er_sde", "seeds_2")
MODELS = ("flux", "unet", "z_image", "qwen_image", "wan", "hunyuan_video")
OTHERS = {"paper": "the paper's rule", "easycache": "EasyCache", "fewer": "fewer steps"}
SPEEDS = {name: speed for name, speed in PRESETS.items() if speed}
STEPS = 30
QUICK_STEPS = 12


@dataclass(frozen=True)
class Place:
    """A model under a sampler and a scheduler, ``guided`` with the U-Net's cfg of 6 in place of its own."""

    model: str
    sampler: str
    scheduler: str = "simple"
    guided: bool = False
    images: str = IMAGES
    steps: int = STEPS

    @property
    def setting(self) -> Setting:
        name = f"{self.sampler}, {self.scheduler}" + (", cfg 6" if self.guided else "")
        return Setting(name, "noise", self.steps, self.sampler, self.scheduler, guided=self.guided)

    @property
    def cells(self) -> list[Steered]:
        """One for each span of images."""
        return cells_of(CHECKPOINTS[self.model].model, self.setting, self.images)


PLACES = (
    *(Place(model, sampler) for sampler in SAMPLERS for model in MODELS if model != "unet"),
    *(Place("unet", sampler, "karras") for sampler in SAMPLERS),
    *(Place("unet", sampler, "exponential") for sampler in SAMPLERS[:2]),
    *(Place("unet", sampler, "karras", guided=True) for sampler in SAMPLERS[:2]),
)


def measure(place: Place) -> list[dict]:
    """A row for each preset."""
    return [row_of(place, preset) for preset in SPEEDS]


def row_of(place: Place, preset: str) -> dict:
    cells = place.cells
    own, total = [cell.own(SPEEDS[preset]) for cell in cells], cells[0].reference[1]
    row = {"model": place.model, "setting": place.setting.name, "preset": preset, "calls": total}
    row |= {"own": summary(own, total), **texture(cells, own)}
    if row["own"]["calls"] < total:
        row["others"] = {name: summary(others_of(name, cells, own), total) for name in OTHERS}
    return row


def others_of(name: str, cells: Sequence[Steered], own: Sequence[dict]) -> list[dict]:
    """The same cells another way, with as many computed calls as the images had in the mean.

    Where that is all but one, each image has its own number of calls: else the other way would compute everything.
    """
    ways = {"paper": Steered.paper_at, "easycache": easycache_at, "fewer": Steered.fewer_at}

    def other(cell: Steered, found: dict) -> dict:
        way = partial(ways[name], cell)
        few = cell.reference[1] - found["calls"] < 2
        return cell.at(found, way) if few else way(found["calls"])

    return [other(cell, found) for cell, found in zip(cells, own, strict=True)]


def easycache_at(cell: Steered, calls: float) -> dict:
    """The cell under EasyCache's rule, steered to so many computed calls."""
    steps = max(1, round(calls * cell.setting.steps / cell.reference[1]))
    return cell.once("easycache", steps, run=lambda: cell.cached(cell.counted("easycache", steps)))


def summary(rows: Sequence[dict], total: float) -> dict:
    found = together(rows)
    return {"calls": round(found["calls"], 2), "speed": round(total / found["calls"], 3),
            "psnr": round(fmean(found["psnr"]), 2), "lowest": round(min(found["psnr"]), 2)}  # fmt: skip


def texture(cells: Sequence[Steered], own: Sequence[dict]) -> dict:
    """Total variation and amplitude of the highest band, each against the full run's, mean over the images."""
    pairs = list(zip(cells, own, strict=True))
    found = mean_of(measures(cell.decoded(row["samples"])) for cell, row in pairs)
    full = mean_of(measures(cell.reference[0]) for cell, _ in pairs)
    return {name: round(found[name] / full[name], 4) for name in found}


def mean_of(found: Iterable[dict[str, float]]) -> dict[str, float]:
    rows = list(found)
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def measures(images: torch.Tensor) -> dict[str, float]:
    """Of images ``(N, H, W, 3)``."""
    variation = images.diff(dim=1).abs().mean() + images.diff(dim=2).abs().mean()
    rings = Rings(torch.Size(images[0].permute(2, 0, 1).shape), images.device)
    highest = [float(rings.sums(rings.transform(image.permute(2, 0, 1))[None] ** 2)[0, -1]) for image in images]
    return {"variation": float(variation), "highest_band": fmean(math.sqrt(value) for value in highest)}


def markdown(rows: Sequence[dict]) -> str:
    """A line for each cell: a preset's mean and lowest decibels and speed; others at the same calls."""

    def decibels(found: dict) -> str:
        return f"{found['psnr']:.1f} ({found['lowest']:.1f})"

    def line(row: dict) -> list[str]:
        others = [decibels(row["others"][name]) if "others" in row else "" for name in OTHERS]
        own = f"**{decibels(row['own'])}**" if "others" in row else "everything computed"
        texture = f"{row['variation']:.2f}, {row['highest_band']:.2f}"
        where = [TITLES[row["model"]], row["setting"], row["preset"], f"{row['own']['speed']:.2f}x"]
        return [*where, own, *others, texture]

    titles = (
        "model",
        "sampler, scheduler",
        "preset",
        "speed",
        "PSNR (lowest)",
        *OTHERS.values(),
        "variation, highest band",
    )
    return "\n\n".join((in_short(rows), table(titles, map(line, rows))))


def in_short(rows: Sequence[dict]) -> str:
    """A line for each preset, over the cells that skip."""
    lines = []
    for preset in SPEEDS:
        found = [row for row in rows if row["preset"] == preset and "others" in row]
        if not found:
            continue
        own = [row["own"] for row in found]
        best = [max(row["others"][name]["psnr"] for name in ("paper", "easycache")) for row in found]
        ahead = sum(row["psnr"] > other for row, other in zip(own, best, strict=True))
        near = sum(row["psnr"] > other - 1.5 for row, other in zip(own, best, strict=True))
        fewer = sum(row["own"]["psnr"] > row["others"]["fewer"]["psnr"] for row in found)
        apart = sum(max(abs(row[name] - 1) for name in ("variation", "highest_band")) > 0.08 for row in found)
        speed, psnr = fmean(row["speed"] for row in own), fmean(row["psnr"] for row in own)
        lines.append([
            preset, f"{len(found)} of {sum(row['preset'] == preset for row in rows)}",
            str(len({row["model"] for row in found})), f"{speed:.2f}x", f"{psnr:.1f}",
            f"{min(row['lowest'] for row in own):.1f}", f"{ahead / len(found):.0%}", f"{near / len(found):.0%}",
            f"{fewer / len(found):.0%}", str(apart),
        ])  # fmt: skip
    titles = ("preset", "cells that skip", "models", "speed", "PSNR", "lowest image", "ahead of paper and EasyCache",
              "within 1.5 dB of the better", "ahead of fewer steps", "texture off by over 8%")  # fmt: skip
    return table(titles, lines)


def shown(place: Place) -> torch.Tensor:
    """Rows of images: the full run and each preset."""
    cell = place.cells[0]
    rows = [cell.reference[0], *(cell.decoded(cell.own(speed)["samples"]) for speed in SPEEDS.values())]
    every = max(1, len(rows[0]) // len(cell.images))  # one frame of a video
    return torch.cat([torch.cat(list(row[::every]), 1) for row in rows])


def sheet(path: Path) -> None:
    from PIL import Image

    places = [place for place in PLACES if place.model in ("flux", "unet", "z_image") and place.sampler in SAMPLERS[:2]]
    parts = [shown(place) for place in places if place.scheduler != "exponential"]
    wide = max(part.shape[1] for part in parts)
    parts = [torch.nn.functional.pad(part, (0, 0, 0, wide - part.shape[1])) for part in parts]
    Image.fromarray((torch.cat(parts) * 255).byte().numpy()).save(path)


def options() -> argparse.Namespace:
    parser = bench.parser(__doc__, jobs=2)
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one (repeatable)")
    parser.add_argument("--images", default=IMAGES, help="spans of captions and noises, 12-15,28-31")
    parser.add_argument("--sampler", action="append", choices=SAMPLERS, help="only this one (repeatable)")
    parser.add_argument("--page", action="store_true", help="only make the table again")
    parser.add_argument("--sheet", type=Path, help="write a sheet of images here")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    places = [
        replace(place, images=chosen.images)
        for place in PLACES
        if place.model in (chosen.model or MODELS) and place.sampler in (chosen.sampler or SAMPLERS)
    ]
    if chosen.quick:
        places = [Place("flux", SAMPLERS[0], images="12-12", steps=QUICK_STEPS)]
    if not chosen.page:
        rows = [row for found in bench.measured(measure, places, chosen.jobs, chosen.quick) for row in found]
        print(markdown(rows))
        known = [] if chosen.quick else bench.results("noise.json")["rows"]
        rows = bench.merged(known, rows, "model", "setting", "preset")
        bench.write("noise.json", {"images": chosen.images, "rows": rows}, chosen.quick)
    if chosen.sheet:
        sheet(chosen.sheet)
    if not chosen.quick:
        bench.put(PAGE, added_noise=markdown(bench.results("noise.json")["rows"]))


if __name__ == "__main__":
    main()
