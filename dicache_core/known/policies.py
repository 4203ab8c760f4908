"""The known methods by name.

Thresholds are the authors' where they gave one for the architecture, else the customary one.
"""

from __future__ import annotations

from ..policy import ELSEWHERE, Policy


def everywhere(threshold: float, **others: float) -> dict[str, float]:
    """One threshold for every architecture, and ``others`` by name."""
    return {ELSEWHERE: threshold, **others}


# In groups, in the order of the menu.
KNOWN: dict[str, Policy] = {
    # Known methods that decide on every step.
    "fbcache": Policy("first_block", "reuse", thresholds=everywhere(0.1, flux=0.12)),
    "teacache": Policy("teacache", "reuse", warmup_steps=1, thresholds=everywhere(0.2, flux=0.4, hunyuan_video=0.15)),
    "easycache": Policy("easycache", "output_difference", thresholds=everywhere(0.05)),
    "sensitivity": Policy("sensitivity", "output_reuse", thresholds=everywhere(0.1)),
    # First and last step computed, as in the authors' code; their thresholds are for the first block's input.
    "seacache": Policy("seacache", "reuse", warmup_steps=1, thresholds=everywhere(0.2, flux=0.3, chroma=0.3)),
    "worldcache": Policy("worldcache", "least_squares_gamma", probe_depth=2, thresholds=everywhere(0.06, wan=0.04)),
    # Known methods that go by a calibrating run.
    "magcache": Policy(
        "magcache", "reuse", max_consecutive=4, thresholds=everywhere(0.12, flux=0.24, hunyuan_video=0.06)
    ),
    "smoothcache": Policy("smoothcache", "reuse", warmup_steps=1, max_consecutive=3, thresholds=everywhere(0.18)),
    "procache": Policy("procache", "taylor2", warmup_steps=1),
    "meancache": Policy("shortest_path", "mean_velocity", warmup_steps=3),
    # Known methods that compute every n-th step, and a plan written down beforehand.
    "spectrum": Policy("growing_window", "spectrum", interval=2, warmup_steps=5),
    "spectrum_output": Policy("growing_window", "spectrum_output", interval=2, warmup_steps=5),
    "taylorseer_1": Policy("fixed", "taylor1", interval=3, warmup_steps=3),
    "taylorseer_2": Policy("fixed", "taylor2", interval=3, warmup_steps=3),
    "foca": Policy("fixed", "foca", interval=3, warmup_steps=3),
    "hyca": Policy("fixed", "hyca", interval=3, warmup_steps=4),
    "hicache": Policy("fixed", "hicache", interval=6, warmup_steps=3),
    "freqca": Policy("fixed", "freqca", interval=6, warmup_steps=3),
    "tc_pade": Policy("fixed", "tc_pade", interval=4, warmup_steps=3),
    "cachequant": Policy("fixed", "channel_correction", interval=5, warmup_steps=1),
    "fastercache": Policy("fastercache", "from_conditional", interval=2),
    "fixed_interval": Policy("fixed", "reuse", interval=2, warmup_steps=1),
    # Interval 3 and branch 0 (here: probe depth 1), as published; on a U-Net the deep feature is what is reused.
    "deepcache": Policy("fixed", "reuse", interval=3, probe_depth=1, warmup_steps=1),
    "step_mask": Policy(
        "mask",
        "reuse",
        warmup_steps=0,
        mask="1,1,1,1,1,0,1,0,1,0,1,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,1",
    ),
}
