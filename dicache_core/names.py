"""Architectures by the names that people know them by."""

from __future__ import annotations

NAMES: dict[str, str] = {
    "flux": "Flux",
    "chroma": "Chroma",
    "hunyuan_video": "HunyuanVideo",
    "wan": "Wan",
    "unet": "U-Net (SD 1.5, SDXL)",
}


def display_name(architecture: str) -> str:
    """``"hunyuan_video"`` -> ``"HunyuanVideo"``; a name that is not in the table, with spaces for underscores."""
    return NAMES.get(architecture) or architecture.replace("_", " ")
