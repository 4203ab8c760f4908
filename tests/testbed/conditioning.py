"""Captions to ComfyUI conditioning and latents to pictures, for nodes and in-process tests alike."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

from . import captions, emoji, scenes
from .packing import unpacked


@dataclass(frozen=True)
class Shape:
    """What one checkpoint was trained on: ``frames`` latent frames of ``size`` x ``size`` latent cells."""

    frames: int
    size: int
    cfg: float


SHAPES = {
    "flux": Shape(1, 32, 1.0),
    "hunyuan_video": Shape(7, 16, 1.0),
    "wan": Shape(5, 8, 3.0),
    "qwen_image": Shape(1, 16, 2.5),
    "z_image": Shape(1, 12, 1.0),
    "unet": Shape(1, 8, 3.0),
    "flux_reflow": Shape(1, 16, 1.0),
    "flux_lcm": Shape(1, 16, 1.0),
    "flux_emoji": Shape(1, 12, 2.5),
}
EMOJI = "flux_emoji"  # the one checkpoint that knows another world than that of scenes.py
FLUX = ("flux", "flux_reflow", "flux_lcm", EMOJI)
FLAT = (*FLUX, "z_image", "unet")  # their latents have no frames; Qwen-Image's have one


def weights(architecture: str) -> Path:
    """The checkpoint of ``architecture``, unpacked."""
    return unpacked(architecture)


def empty_latent(architecture: str, batch: int = 1, size: int | None = None, frames: int | None = None) -> torch.Tensor:
    """(B, 16, h, w) zeros for the picture models in FLAT, (B, 16, T, h, w) for the others."""
    shape = SHAPES[architecture]
    size, frames = size or shape.size, frames or shape.frames
    return torch.zeros(batch, 16, size, size) if architecture in FLAT else torch.zeros(batch, 16, frames, size, size)


def captions_of(architecture: str) -> tuple[str, ...]:
    """The fixed captions of the world that ``architecture`` was trained on."""
    return emoji.CAPTIONS if architecture == EMOJI else captions.CAPTIONS


def conditioning(architecture: str, text: str) -> list:
    """ComfyUI conditioning of one caption: [[(1, 20, C) context, extras]]; empty text is the unconditional one."""
    dim = scenes.CONTEXT_DIM[architecture]
    context = torch.zeros(1, scenes.CAPTION_LENGTH, dim)
    if text.strip() and architecture == EMOJI:
        context = emoji.embedding_table()[emoji.parse(text)][None]
    elif text.strip():
        context = scenes.embedding_table(dim)[captions.parse(text)][None]
    guided = architecture in (*FLUX, "hunyuan_video")
    extras = {"pooled_output": torch.zeros(1, 768), "guidance": 3.5} if guided else {}
    return [[context, extras]]


def channel_std(path: Path) -> torch.Tensor:
    """(16,) channel scale of the latent code, from the checkpoint's metadata."""
    with safe_open(path, framework="pt") as file:
        return torch.tensor(json.loads(file.metadata()["std"]))


def pictures(samples: torch.Tensor, latent_format, std: torch.Tensor) -> torch.Tensor:
    """(B, 16, [T,] h, w) sampled latent -> (B * T, 8h, 8w, 3) pictures in [0, 1], frames of one sample in a row."""
    latent = latent_format.process_in(samples.float())
    video = scenes.decode(latent[:, :, None] if latent.ndim == 4 else latent, std)
    return video.permute(0, 2, 3, 4, 1).flatten(0, 1) / 2 + 0.5
