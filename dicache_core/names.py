"""Architectures and policies by the names that people know them by."""

from __future__ import annotations

NAMES: dict[str, str] = {
    "flux": "Flux",
    "chroma": "Chroma",
    "hunyuan_video": "HunyuanVideo",
    "wan": "Wan",
    "unet": "U-Net (SD 1.5, SDXL)",
}

TITLES: dict[str, str] = {
    "dicache": "DiCache (the paper's method)",
    "dicache_delta_minus": "DiCache, delta-minus variant",
    "foreseen": "foreseen (this pack's own)",
    "corrected_line": "corrected line (this pack's own)",
    "trajectory_error": "trajectory error (this pack's own)",
    "trajectory_error_output": "trajectory error of the output (this pack's own)",
    "output_line": "output line (this pack's own)",
    "output_reuse": "last output (this pack's own)",
    "fbcache": "FBCache",
    "teacache": "TeaCache",
    "easycache": "EasyCache",
    "magcache": "MagCache",
    "sensitivity": "sensitivity (after SenCache)",
    "taylorseer_1": "TaylorSeer, order 1",
    "taylorseer_2": "TaylorSeer, order 2",
    "foca": "FoCa",
    "hyca": "HyCa",
    "fixed_interval": "fixed interval",
    "step_mask": "step mask",
}


def display_name(architecture: str) -> str:
    """``"hunyuan_video"`` -> ``"HunyuanVideo"``; a name that is not in the table, with spaces for underscores."""
    return NAMES.get(architecture, architecture.replace("_", " "))


def title(policy: str | None) -> str:
    """A policy's name for people; rules that no policy has are a method of one's own."""
    return "a method of your own" if policy is None else TITLES.get(policy, policy)
