"""The known methods by name.

Thresholds are the authors' where they gave one for the architecture, else the customary one; other architectures take
the preset's.
"""

from __future__ import annotations

from ..policy import Policy


def everywhere(threshold: float, **others: float) -> dict[str, float]:
    """One threshold for every architecture, and ``others`` by name."""
    return dict.fromkeys(("flux", "chroma", "hunyuan_video", "wan"), threshold) | others


KNOWN: dict[str, Policy] = {
    "fbcache": Policy("first_block", "reuse", thresholds=everywhere(0.1, flux=0.12)),
    "teacache": Policy("teacache", "reuse", warmup_steps=1, thresholds=everywhere(0.2, flux=0.4, hunyuan_video=0.15)),
    "easycache": Policy("easycache", "output_difference", thresholds=everywhere(0.05)),
    "magcache": Policy(
        "magcache", "reuse", max_consecutive=4, thresholds=everywhere(0.12, flux=0.24, hunyuan_video=0.06)
    ),
    "taylorseer_1": Policy("fixed", "taylor1", threshold=3.0, warmup_steps=3),
    "taylorseer_2": Policy("fixed", "taylor2", threshold=3.0, warmup_steps=3),
    "foca": Policy("fixed", "foca", threshold=3.0, warmup_steps=3),
    "hyca": Policy("fixed", "hyca", threshold=3.0, warmup_steps=4),
    "hicache": Policy("fixed", "hicache", threshold=6.0, warmup_steps=3),
    "freqca": Policy("fixed", "freqca", threshold=6.0, warmup_steps=3),
    "tc_pade": Policy("fixed", "tc_pade", threshold=4.0, warmup_steps=3),
    "cachequant": Policy("fixed", "channel_correction", threshold=5.0, warmup_steps=1),
    "sensitivity": Policy("sensitivity", "output_reuse", thresholds=everywhere(0.1)),
    # First and last step computed, as in the authors' code; their thresholds are for the first block's input.
    "seacache": Policy("seacache", "reuse", warmup_steps=1, thresholds=everywhere(0.2, flux=0.3, chroma=0.3)),
    "spectrum": Policy("growing_window", "spectrum", threshold=1.0, warmup_steps=5),
    "spectrum_output": Policy("growing_window", "spectrum_output", threshold=1.0, warmup_steps=5),
    "worldcache": Policy("worldcache", "least_squares_gamma", probe_depth=2, thresholds=everywhere(0.06, wan=0.04)),
    # Calibrated, as MagCache is.
    "smoothcache": Policy("smoothcache", "reuse", warmup_steps=1, max_consecutive=3, thresholds=everywhere(0.18)),
    "procache": Policy("procache", "taylor2", warmup_steps=1, target="2x"),
    "meancache": Policy("shortest_path", "mean_velocity", warmup_steps=3, target="2x"),
    "fixed_interval": Policy("fixed", "reuse", threshold=2.0, warmup_steps=1),
    "step_mask": Policy(
        "mask",
        "reuse",
        threshold=1.0,
        warmup_steps=0,
        mask="1,1,1,1,1,0,1,0,1,0,1,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,1",
    ),
}
