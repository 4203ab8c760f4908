"""Architectures and policies by the names that people know them by."""

from __future__ import annotations

NAMES: dict[str, str] = {
    "flux": "Flux",
    "chroma": "Chroma",
    "chroma_radiance": "Chroma Radiance",
    "hunyuan_video": "HunyuanVideo",
    "wan": "Wan",
    "qwen_image": "Qwen-Image",
    "mage_flow": "Mage-Flow",
    "lens": "Lens",
    "joyimage": "JoyImage",
    "ltxv": "LTX-Video",
    "ltx2": "LTX-2",
    "minimax_h3": "MiniMax H3",
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
    "seacache": "SeaCache",
    "worldcache": "WorldCache",
    "sensitivity": "sensitivity (after SenCache)",
    "magcache": "MagCache",
    "smoothcache": "SmoothCache",
    "procache": "ProCache",
    "meancache": "MeanCache",
    "taylorseer_1": "TaylorSeer, order 1",
    "taylorseer_2": "TaylorSeer, order 2",
    "foca": "FoCa",
    "hyca": "HyCa",
    "hicache": "HiCache",
    "freqca": "FreqCa",
    "tc_pade": "rational forecast (after TC-Padé)",
    "cachequant": "CacheQuant's correction",
    "fastercache": "FasterCache",
    "spectrum": "Spectrum",
    "spectrum_output": "Spectrum, of the output",
    "fixed_interval": "fixed interval",
    "deepcache": "DeepCache",
    "step_mask": "step mask",
}


def display_name(architecture: str) -> str:
    """``"hunyuan_video"`` -> ``"HunyuanVideo"``; a name that is not in the table, with spaces for underscores."""
    return NAMES.get(architecture, architecture.replace("_", " "))


def title(policy: str | None) -> str:
    """A policy's name for people; rules that no policy has are a method of one's own."""
    return "a method of your own" if policy is None else TITLES.get(policy, policy)
