"""The policies that go by a name: the paper's, the known training-free caches and this pack's own, under one engine.

A method's source and equation stand with its indicator and its predictor.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .config import check_threshold
from .curve import Curve
from .known.policies import KNOWN, everywhere
from .policy import Policy
from .registry import lookup

# In groups, in the order of the menu.
POLICIES: dict[str, Policy] = {
    # The paper, and its variant, with the published thresholds.
    "dicache": Policy("delta_y", "trajectory"),
    "dicache_delta_minus": Policy("delta_minus", "trajectory"),
    # This pack's own: better gates, and the output in place of the stack's residual.
    "foreseen": Policy("foreseen", "corrected_line"),
    "corrected_line": Policy("fixed", "corrected_line", interval=2, warmup_steps=2),
    "trajectory_error": Policy("trajectory_error", "trajectory", thresholds=everywhere(0.1)),
    "trajectory_error_output": Policy("trajectory_error", "output_line", thresholds=everywhere(0.1)),
    "output_line": Policy("fixed", "output_line", interval=2, warmup_steps=3),
    "output_reuse": Policy("fixed", "output_reuse", interval=2, warmup_steps=3),
    **KNOWN,
}


def named_policy(name: str) -> Policy:
    """The policy of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(POLICIES, name, "policy")


def check_companions(name: str, mask: str, curve: str) -> None:
    """Raise a ``ValueError`` for a mask or a curve (its name) that a policy does not read, or for a curve it lacks."""
    policy = named_policy(name)
    if mask and policy.limited_by != "mask":
        raise ValueError(f"mask is {mask!r}, but {name} reads none: clear it, or choose step_mask")
    if policy.calibrated and not curve:
        raise ValueError(f"{name} needs a curve: make one with DiCache Calibrate, and write its name into curve")
    if curve and not policy.calibrated:
        calibrated = ", ".join(other for other, rules in POLICIES.items() if rules.calibrated)
        raise ValueError(f"curve is {curve!r}, but {name} reads none: clear it, or choose one of {calibrated}")


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
