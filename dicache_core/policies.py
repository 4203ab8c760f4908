"""The policies that go by a name: the known training-free caches and this pack's own, all under one engine.

A method's source and equation stand with its indicator and its predictor.  Thresholds are the authors' where they gave
one for the architecture, else the customary one; other architectures take the preset's.
"""

from __future__ import annotations

from .policy import Policy
from .registry import lookup


def _everywhere(threshold: float, **others: float) -> dict[str, float]:
    """One threshold for every architecture, and ``others`` by name."""
    return dict.fromkeys(("flux", "chroma", "hunyuan_video", "wan"), threshold) | others


POLICIES: dict[str, Policy] = {
    # The paper, and its variant; thresholds of the preset.
    "dicache": Policy("delta_y", "trajectory"),
    "dicache_delta_minus": Policy("delta_minus", "trajectory"),
    # Known methods.
    "fbcache": Policy("first_block", "reuse", thresholds=_everywhere(0.1, flux=0.12)),
    "teacache": Policy("teacache", "reuse", warmup_steps=1, thresholds=_everywhere(0.2, flux=0.4, hunyuan_video=0.15)),
    "easycache": Policy("easycache", "output_difference", thresholds=_everywhere(0.05)),
    "magcache": Policy(
        "magcache", "reuse", max_consecutive=4, thresholds=_everywhere(0.12, flux=0.24, hunyuan_video=0.06)
    ),
    "taylorseer_1": Policy("fixed", "taylor1", threshold=3.0, warmup_steps=3),
    "taylorseer_2": Policy("fixed", "taylor2", threshold=3.0, warmup_steps=3),
    "foca": Policy("fixed", "foca", threshold=3.0, warmup_steps=3),
    "hyca": Policy("fixed", "hyca", threshold=3.0, warmup_steps=4),
    "sensitivity": Policy("sensitivity", "output_reuse", thresholds=_everywhere(0.1)),
    "fixed_interval": Policy("fixed", "reuse", threshold=2.0, warmup_steps=1),
    # Interval 3 and branch 0 (here: probe depth 1), as published; on a U-Net the deep feature is what is reused.
    "deepcache": Policy("fixed", "reuse", threshold=3.0, probe_depth=1, warmup_steps=1),
    "step_mask": Policy(
        "mask",
        "reuse",
        threshold=1.0,
        warmup_steps=0,
        mask="1,1,1,1,1,0,1,0,1,0,1,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,0,1,0,1",
    ),
    # Better gates and the output in place of the stack's residual.
    "trajectory_error": Policy("trajectory_error", "trajectory", thresholds=_everywhere(0.1)),
    "trajectory_error_output": Policy("trajectory_error", "output_line", thresholds=_everywhere(0.1)),
    "output_reuse": Policy("fixed", "output_reuse", threshold=2.0, warmup_steps=3),
    "corrected_line": Policy("fixed", "corrected_line", threshold=2.0, warmup_steps=2),
    "foreseen": Policy("foreseen", "corrected_line", warmup_steps=2, target="2x"),
    "output_line": Policy("fixed", "output_line", threshold=2.0, warmup_steps=3),
}


def named_policy(name: str) -> Policy:
    """The policy of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(POLICIES, name, "policy")
