"""What ``flux_emoji`` was trained on: Fluent emoji (MIT) at random sizes and places on plain backgrounds.

The images are those of the npm package ``@lobehub/fluent-emoji-3d`` (256x256 with alpha, named by code point), their
names those of ``openmoji``, of which only ``data/openmoji.csv`` is read.  README.md has the commands.
"""

import csv
import random
from pathlib import Path

import emoji
import numpy as np
import scenes
import torch
from PIL import Image

COLORS = {
    "white": (250, 250, 250),
    "yellow": (240, 200, 80),
    "blue": (90, 160, 220),
    "red": (230, 120, 120),
    "green": (120, 190, 130),
    "purple": (170, 130, 210),
}
SMALLEST, LARGEST = 0.78, 0.9  # of the side of the canvas
VARIATION = "-fe0f"  # a code point that asks for the coloured form and that names of files may or may not have


def files(images: Path, names: Path) -> dict[str, Path]:
    """The file of each of emoji.NAMES.  Raises ``ValueError`` where one is missing."""
    with names.open(encoding="utf-8") as table:
        codes = {row["annotation"]: row["hexcode"].lower() for row in csv.DictReader(table)}
    there = {path.stem.lower().replace(VARIATION, ""): path for path in images.glob("*.webp")}
    found = {name: there.get(codes.get(name, "").replace(VARIATION, "")) for name in emoji.NAMES}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise ValueError(f"{images} has no image of {', '.join(missing)}")
    return found


def draw_pool(images: Path, names: Path, size: int, edge: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """((size, 16, 1, edge/8, edge/8) latents, (size, 20) caption ids, (16,) channel scale) of drawn images."""
    draw, pixels, ids = random.Random(1), [], []
    drawings = [(name, Image.open(path).convert("RGBA")) for name, path in files(images, names).items()]
    for number in range(size):
        name, image = drawings[number % len(drawings)]
        background = draw.choice(list(COLORS))
        side = int(edge * draw.uniform(SMALLEST, LARGEST))
        small = image.resize((side, side), Image.Resampling.LANCZOS)
        canvas = Image.new("RGB", (edge, edge), COLORS[background])
        canvas.paste(small, (draw.randint(0, edge - side), draw.randint(0, edge - side)), small)
        pixels.append(torch.from_numpy(np.array(canvas)))
        ids.append(emoji.caption_ids(name, background))
    video = torch.stack(pixels).permute(0, 3, 1, 2)[:, :, None].float() / 127.5 - 1
    raw = torch.cat([scenes.encode(part, torch.ones(16)) for part in video.split(512)])
    spread = raw.transpose(0, 1).flatten(1).std(1)
    root = spread.sqrt()  # as train.channel_scale has it
    std = root * ((spread / root) ** 2).mean().sqrt()
    return raw / std.view(1, 16, 1, 1, 1), torch.stack(ids), std
