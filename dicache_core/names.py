"""Architectures by the names that people know them by."""

from __future__ import annotations

NAMES: dict[str, str] = {
    "flux": "Flux",
    "chroma": "Chroma",
    "chroma_radiance": "Chroma Radiance",
    "hunyuan_video": "HunyuanVideo",
    "wan": "Wan",
    "qwen_image": "Qwen-Image",
    "qwen_image_2_1": "Qwen-Image 2.1",
    "mage_flow": "Mage-Flow",
    "lens": "Lens",
    "joyimage": "JoyImage",
    "ltxv": "LTX-Video",
    "ltx2": "LTX-2",
    "minimax_h3": "MiniMax H3",
    "minimax_music": "MiniMax Music 3",
    "sd3": "Stable Diffusion 3",
    "aura_flow": "AuraFlow",
    "mochi": "Mochi",
    "stable_audio": "Stable Audio",
    "hunyuan_dit": "HunyuanDiT",
    "hunyuan3d": "Hunyuan3D 2",
    "hunyuan3d_2_1": "Hunyuan3D 2.1",
    "seedvr2": "SeedVR2",
    "kandinsky5": "Kandinsky 5",
    "hidream_o1": "HiDream O1",
    "hidream": "HiDream I1",
    "lumina2": "Lumina 2 and Z-Image",
    "krea2": "Krea 2",
    "ideogram4": "Ideogram 4",
    "cosmos1": "Cosmos 1",
    "cosmos_predict2": "Cosmos Predict 2",
    "pixeldit": "PixelDiT",
    "omnigen2": "OmniGen 2",
    "boogu": "Boogu",
    "ernie": "Ernie Image",
    "ace_step": "ACE-Step 1",
    "ace_step_1_5": "ACE-Step 1.5",
    "pixart": "PixArt",
    "cogvideox": "CogVideoX",
    "triposplat": "TripoSplat",
    "unet": "U-Net (SD 1.5, SDXL)",
}


def display_name(architecture: str) -> str:
    """``"hunyuan_video"`` -> ``"HunyuanVideo"``; a name that is not in the table, with spaces for underscores."""
    return NAMES.get(architecture, architecture.replace("_", " "))
