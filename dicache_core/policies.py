"""The policies that go by a name: the paper's, the known training-free caches and this pack's own, under one engine.

A method's source, equation, numbers and texts stand in its file of ``methods``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .calibration import Calibration
from .call_plan import CallPlan
from .config import check_threshold, parse_mask
from .methods import (
    block_mask,
    cachequant,
    deepcache,
    dicache,
    easycache,
    fastercache,
    fbcache,
    foca,
    forecast,
    freqca,
    h2cache,
    hicache,
    hyca,
    magcache,
    meancache,
    output_line,
    planned,
    procache,
    profilingdit,
    seacache,
    sensitivity,
    smoothcache,
    spectrum,
    taylorseer,
    tcpade,
    teacache,
    trajectory_error,
    worldcache,
)
from .policy import Group, NamedPolicy, Policy
from .registry import lookup
from .segments import parse_blocks

WRITE_MASK = "write 1 for a computed and 0 for a skipped step, such as 1,1,1,0,1,0,0,1"


@dataclass(frozen=True)
class GroupTexts:
    """What people are told of a group: on the menu, above its table on a help page, and after a title in a report."""

    label: str
    heading: str
    remark: str = ""


GROUPS: dict[Group, GroupTexts] = {
    Group.PAPER: GroupTexts("the paper", "From the paper:", "the paper's method"),
    Group.OWN: GroupTexts("developed here", "Developed here:", "developed here"),
    Group.EVERY_STEP: GroupTexts("judges every step", "Published methods that judge every step:"),
    Group.CALIBRATED: GroupTexts("by calibration", "Published methods that need a calibration by *DiCache Calibrate*:"),
    Group.INTERVAL: GroupTexts("every n-th step", "Published methods that compute every n-th step:"),
    Group.PARTS: GroupTexts("parts of the stack", "Published methods that skip some of the blocks, for comparison:"),
    Group.PLAN: GroupTexts("by hand", "Your own plan:"),
}

METHODS = (  # within each group, in the order of the menu
    dicache,
    forecast,
    trajectory_error,
    output_line,
    fbcache,
    teacache,
    easycache,
    sensitivity,
    seacache,
    worldcache,
    magcache,
    smoothcache,
    procache,
    meancache,
    spectrum,
    taylorseer,
    foca,
    hyca,
    hicache,
    freqca,
    tcpade,
    cachequant,
    fastercache,
    planned,
    deepcache,
    h2cache,
    profilingdit,
    block_mask,
)
# In the order of the menu, a group after the other.
NAMED: dict[str, NamedPolicy] = {
    row.id: row for group in Group for method in METHODS for row in method.POLICIES if row.group is group
}
POLICIES: dict[str, Policy] = {name: row.policy for name, row in NAMED.items()}


def title(name: str | None) -> str:
    """A policy's name for people, with whose it is; rules that no policy has are a method of one's own."""
    if name is None:
        return "a custom method"
    if name not in NAMED:
        return name
    row = NAMED[name]
    remark = GROUPS[row.group].remark
    return f"{row.title} ({remark})" if remark else row.title


def named_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        ValueError: there is none; lists the known ones.
    """
    return lookup(POLICIES, name, "policy")


def check_companions(name: str, mask: str, curve: str) -> None:
    """Raise a ``ValueError`` for a mask or a curve (its name) that a policy does not read, or for one that it lacks."""
    policy = named_policy(name)
    if policy.in_parts and policy.limited_by == "mask":
        parse_blocks(mask)
    elif policy.limited_by == "mask" and not parse_mask(mask):
        raise ValueError(f"{name} needs a mask: {WRITE_MASK}")
    if mask and policy.limited_by != "mask":
        raise ValueError(f"mask is {mask!r}, but {name} uses none: clear it, or choose step_mask or profilingdit")
    if policy.calibrated and not curve:
        raise ValueError(f"{name} needs a calibration: run DiCache Calibrate and choose its result here")
    if curve and not policy.calibrated:
        calibrated = ", ".join(other for other, rules in POLICIES.items() if rules.calibrated)
        raise ValueError(f"calibration is {curve!r}, but {name} uses none: clear it, or choose one of {calibrated}")


def chosen_policy(
    name: str,
    *,
    target: str = "",
    threshold: float | None = None,
    interval: int | None = None,
    warmup_steps: int | None = None,
    mask: str = "",
    calibration: Calibration | None = None,
    plan: CallPlan | None = None,
) -> Policy:
    """The policy of that name with the numbers that the user typed; ``None`` and "" were not typed.

    ``mask`` and ``calibration`` go to the policies that read them and to no other.  A ``plan`` is followed from its
    second call on.

    Raises:
        ValueError: there is no such policy, or it does not use a value.
    """
    policy = named_policy(name)
    if threshold is not None:
        check_threshold(threshold)
    numbers = {"threshold": threshold, "interval": interval, "warmup_steps": warmup_steps}
    typed: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    if target.strip():
        for limit in ("threshold", "interval"):
            if typed.get(limit):
                raise ValueError(
                    f"target is {target.strip()!r} and {limit} is {typed[limit]:g}: "
                    f"set either target or {limit}, not both"
                )
        typed["target"] = target.strip()
    if mask.strip() and policy.limited_by == "mask":
        typed["mask"] = mask
    if calibration is not None and policy.calibrated:
        typed["calibration"] = calibration
    if plan is not None:
        typed |= {"plan": plan, "warmup_steps": 1}
    return replace(policy, **typed)
