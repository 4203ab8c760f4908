"""The policies that go by a name: the paper's, the known training-free caches and this pack's own, under one engine.

A method's source and equation stand with its indicator and its predictor.
"""

from __future__ import annotations

from .known.policies import KNOWN, everywhere
from .policy import Policy
from .registry import lookup

POLICIES: dict[str, Policy] = {
    # The paper, and its variant; thresholds of the preset.
    "dicache": Policy("delta_y", "trajectory"),
    "dicache_delta_minus": Policy("delta_minus", "trajectory"),
    **KNOWN,
    # Better gates and the output in place of the stack's residual.
    "trajectory_error": Policy("trajectory_error", "trajectory", thresholds=everywhere(0.1)),
    "trajectory_error_output": Policy("trajectory_error", "output_line", thresholds=everywhere(0.1)),
    "output_reuse": Policy("fixed", "output_reuse", threshold=2.0, warmup_steps=3),
    "corrected_line": Policy("fixed", "corrected_line", threshold=2.0, warmup_steps=2),
    "foreseen": Policy("foreseen", "corrected_line", warmup_steps=2, target="2x"),
    "output_line": Policy("fixed", "output_line", threshold=2.0, warmup_steps=3),
}


def named_policy(name: str) -> Policy:
    """The policy of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(POLICIES, name, "policy")
