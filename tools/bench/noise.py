"""The forecast presets under samplers that add noise: ``python3 tests/host/run.py --script tools/bench/noise.py``.

A cell is one model under one sampler with one preset, against the full run, and where others are asked for, beside the
paper's rule, EasyCache and fewer steps at the same number of calls.  Total variation and the highest band of
frequencies say whether images got grain or were smoothed.  Writes tools/bench/results/noise.json; ``--sheet FILE`` also
shows some images, and ``--quick`` only that all this runs.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import bench
import torch
from cells import Cell, Setting
from settings import CHECKPOINTS, Steered, cell_of

from dicache_core.methods.rings import Rings
from dicache_core.presets import PRESETS

IMAGES = "8-11"  # judged captions; all was tuned on others
COMPARED = "euler_ancestral"  # where the others are asked for too
SAMPLERS = (COMPARED, "dpmpp_2m_sde", "er_sde", "seeds_2")
MODELS = ("flux", "unet", "z_image", "qwen_image", "wan", "hunyuan_video")
SPEEDS = {name: speed for name, speed in PRESETS.items() if speed}


@dataclass(frozen=True)
class Place:
    """A model under a sampler."""

    model: str
    sampler: str
    images: str = IMAGES
    steps: int = 30

    @property
    def cell(self) -> Steered:
        schedule = "karras" if self.model == "unet" else "simple"
        setting = Setting(f"{self.sampler}-{schedule}", "noise", self.steps, self.sampler, schedule)
        return cell_of(CHECKPOINTS[self.model].model, setting, self.images)


def measure(place: Place) -> list[dict]:
    """A row for each preset."""
    return [row_of(place, preset) for preset in SPEEDS]


def row_of(place: Place, preset: str) -> dict:
    cell = place.cell
    own, total = cell.own(SPEEDS[preset]), cell.reference[1]
    row = {"model": place.model, "sampler": place.sampler, "preset": preset, "calls": total}
    row |= {"own": summary(own, total), "psnr": [round(value, 2) for value in own["psnr"]], **texture(cell, own)}
    steps = max(2, round(own["calls"]))
    if place.sampler == COMPARED and steps < total:
        row["others"] = {
            "paper": summary(cell.paper_at(steps), total),
            "easycache": summary(cell.once("easycache", steps, run=lambda: cell.cached(easycache(cell, steps))), total),
            "fewer": summary(cell.fewer_at(steps), total),
        }
    return row


def easycache(cell: Steered, steps: int) -> Any:
    policy = replace(cell.core.policies.POLICIES["easycache"], target=str(steps))
    return replace(cell.core.resolve(cell.architecture, "published", policy=policy), few_steps=0)


def summary(row: dict, total: float) -> dict:
    speed = total / row["calls"]
    return {"calls": row["calls"], "speed": round(speed, 3), "psnr": round(fmean(row["psnr"]), 2),
            "lowest": round(min(row["psnr"]), 2)}  # fmt: skip


def texture(cell: Cell, own: dict) -> dict:
    """Total variation and amplitude of the highest band, each against the full run's, mean over the images."""
    found, full = (measures(images) for images in (cell.decoded(own["samples"]), cell.reference[0]))
    return {name: round(found[name] / full[name], 4) for name in found}


def measures(images: torch.Tensor) -> dict[str, float]:
    """Of images ``(N, H, W, 3)``."""
    variation = images.diff(dim=1).abs().mean() + images.diff(dim=2).abs().mean()
    rings = Rings(torch.Size(images[0].permute(2, 0, 1).shape), images.device)
    highest = [float(rings.sums(rings.transform(image.permute(2, 0, 1))[None] ** 2)[0, -1]) for image in images]
    return {"variation": float(variation), "highest_band": fmean(math.sqrt(value) for value in highest)}


def shown(model: str, sampler: str, images: str) -> torch.Tensor:
    """Rows of images: the full run and each preset."""
    cell = Place(model, sampler, images).cell
    rows = [cell.reference[0], *(cell.decoded(cell.own(speed)["samples"]) for speed in SPEEDS.values())]
    every = max(1, len(rows[0]) // len(cell.images))  # one frame of a video
    return torch.cat([torch.cat(list(row[::every]), 1) for row in rows])


def sheet(path: Path, images: str) -> None:
    from PIL import Image

    parts = [shown(model, sampler, images) for model in ("flux", "unet", "z_image") for sampler in SAMPLERS[:2]]
    wide = max(part.shape[1] for part in parts)
    parts = [torch.nn.functional.pad(part, (0, 0, 0, wide - part.shape[1])) for part in parts]
    Image.fromarray((torch.cat(parts) * 255).byte().numpy()).save(path)


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one (repeatable); writes nothing")
    parser.add_argument("--images", default=IMAGES, help="8-11, or a number: so many from the first")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, each with one thread")
    parser.add_argument("--sheet", type=Path, help="write a sheet of images here")
    options = parser.parse_args()
    if options.quick:
        places = [Place("flux", "euler_ancestral", "1", steps=12)]
    else:
        models = options.model or MODELS
        places = [Place(model, sampler, options.images) for sampler in SAMPLERS for model in models]
    rows = [row for found in bench.measured(measure, places, options.jobs, options.quick) for row in found]
    for row in rows:
        others = {name: other["psnr"] for name, other in row.get("others", {}).items()}
        print(row["model"], row["sampler"], row["preset"], row["own"], row["variation"], row["highest_band"], others)
    if options.quick or not options.model:
        bench.write("noise.json", {"images": options.images, "rows": rows}, options.quick)
    if options.sheet:
        sheet(options.sheet, options.images)


if __name__ == "__main__":
    main()
