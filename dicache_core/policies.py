"""The policies that go by a name: the known training-free caches and this pack's own, all under one engine.

A method's source and equation stand with its indicator and its predictor.  Thresholds are the authors' where they gave
one for the architecture, else the customary one.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .config import check_threshold
from .curve import Curve
from .policy import ELSEWHERE, Policy
from .registry import lookup


def _everywhere(threshold: float, **others: float) -> dict[str, float]:
    """One threshold for every architecture, and ``others`` by name."""
    return {ELSEWHERE: threshold, **others}


# In groups, in the order of the menu.
POLICIES: dict[str, Policy] = {
    # The paper, and its variant, with the published thresholds.
    "dicache": Policy("delta_y", "trajectory"),
    "dicache_delta_minus": Policy("delta_minus", "trajectory"),
    # This pack's own: better gates, and the output in place of the stack's residual.
    "foreseen": Policy("foreseen", "corrected_line", warmup_steps=2),
    "corrected_line": Policy("fixed", "corrected_line", interval=2, warmup_steps=2),
    "trajectory_error": Policy("trajectory_error", "trajectory", thresholds=_everywhere(0.1)),
    "trajectory_error_output": Policy("trajectory_error", "output_line", thresholds=_everywhere(0.1)),
    "output_line": Policy("fixed", "output_line", interval=2, warmup_steps=3),
    "output_reuse": Policy("fixed", "output_reuse", interval=2, warmup_steps=3),
    # Known methods that decide on every step.
    "fbcache": Policy("first_block", "reuse", thresholds=_everywhere(0.1, flux=0.12)),
    "teacache": Policy("teacache", "reuse", warmup_steps=1, thresholds=_everywhere(0.2, flux=0.4, hunyuan_video=0.15)),
    "easycache": Policy("easycache", "output_difference", thresholds=_everywhere(0.05)),
    "magcache": Policy(
        "magcache", "reuse", max_consecutive=4, thresholds=_everywhere(0.12, flux=0.24, hunyuan_video=0.06)
    ),
    "sensitivity": Policy("sensitivity", "output_reuse", thresholds=_everywhere(0.1)),
    # Known methods that compute every n-th step, and a plan written down beforehand.
    "taylorseer_1": Policy("fixed", "taylor1", interval=3, warmup_steps=3),
    "taylorseer_2": Policy("fixed", "taylor2", interval=3, warmup_steps=3),
    "foca": Policy("fixed", "foca", interval=3, warmup_steps=3),
    "hyca": Policy("fixed", "hyca", interval=3, warmup_steps=4),
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


def named_policy(name: str) -> Policy:
    """The policy of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(POLICIES, name, "policy")


def chosen_policy(
    name: str,
    *,
    target: str = "",
    threshold: float = -1.0,
    interval: int = -1,
    warmup_steps: int = -1,
    mask: str = "",
    curve: Curve | None = None,
) -> Policy:
    """The policy of that name with the numbers that the user typed; -1 and "" were not typed.

    A threshold typed for a policy that counts steps is its interval, as it was in graphs from before there was one.
    ``mask`` and ``curve`` go to the policies that read them and to no other.  Raises ``ValueError``.
    """
    policy, typed = named_policy(name), {}
    if threshold != -1:
        check_threshold(threshold)
    if threshold not in (-1, 0) and policy.limited_by == "interval" and interval == -1:
        interval, threshold = math.ceil(threshold), -1
    if threshold != -1:
        typed["threshold"] = threshold
    if interval != -1:
        typed["interval"] = interval
    if target.strip():
        if typed.get("threshold") or "interval" in typed:
            number = " and ".join(f"{limit} {value:g}" for limit, value in typed.items())
            raise ValueError(f"target is {target.strip()!r} beside {number}: write one of them, as each ends the other")
        typed["target"] = target.strip()
    if warmup_steps != -1:
        typed["warmup_steps"] = warmup_steps
    if mask and policy.limited_by == "mask":
        typed["mask"] = mask
    if curve is not None and policy.calibrated:
        typed["curve"] = curve
    return replace(policy, **typed)
