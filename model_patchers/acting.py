"""What acts on one call of the model and not on every one: ControlNets and patches with a range of their own.

A control that comes, goes or changes its strength in the middle of a run makes another model of the network: what was
kept before tells nothing of what comes after.  So what acts at a call is part of the name of its stream.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Mapping, Sequence
from types import FunctionType
from typing import Any

from comfy.patcher_extension import WrapperExecutor
from torch import Tensor

KEYFRAME = "_current_timestep_keyframe"  # of ComfyUI-Advanced-ControlNet: strengths, masks and weights in force
SPAN = ("sigma_start", "sigma_end")  # as the host's own patches call the noise levels between which they act


class ControlBook:
    """``CALC_COND_BATCH`` wrapper: which control each cond has.

    By the time of ``APPLY_MODEL`` a chain of controls is one sum, and the conds that they came from are gone.
    """

    def __init__(self) -> None:
        self._controls: dict[Hashable, Any] = {}  # by the cond's uuid

    def __call__(self, executor: WrapperExecutor, model: Any, conds: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
        self._controls.update((c["uuid"], c.get("control")) for of_kind in conds for c in of_kind or ())
        return executor(model, conds, *args, **kwargs)

    def acting(self, uuid: Hashable, sigma: float) -> tuple[Hashable, ...]:
        """The controls of a cond that act at ``sigma``, with whatever they change in the course of a run."""
        found, control = [], self._controls.get(uuid)
        while control is not None:
            if _in_force(control.timestep_range, sigma):
                found.append((control, control.strength, identity(getattr(control, KEYFRAME, None))))
            control = control.previous_controlnet
        return tuple(found)


def foreign_patches(options: Mapping[str, Any], sigma: float) -> frozenset[Hashable]:
    """Every patch that acts at ``sigma``, by place and identity; holding them keeps identities from being reused."""
    found: set[Hashable] = set()
    for name, patches in options.get("patches", {}).items():
        found.update((name, identity(patch)) for patch in patches if acts(patch, sigma))
    for name, replacements in options.get("patches_replace", {}).items():
        found.update((name, key, identity(patch)) for key, patch in replacements.items() if acts(patch, sigma))
    return frozenset(found)


def acts(patch: Any, sigma: float) -> bool:
    """Whether ``sigma`` lies in the patch's range, where it has one: as attributes, or in its function's closure.

    A patch that keeps its range in another way cannot be seen into and counts as acting.
    """
    start, end = (_number(patch, name) for name in SPAN)
    return start is None or end is None or float(end) <= sigma <= float(start)


def identity(thing: Any) -> Hashable:
    """The thing itself where it can be hashed (bound methods compare equal each time they are looked up)."""
    return thing if isinstance(thing, Hashable) else id(thing)


def _in_force(span: Sequence[float] | None, sigma: float) -> bool:
    """As the host sees it, which compares in float32 with the call's own noise level."""
    if span is None:
        return True
    start, end = array("f", span)
    return end <= sigma <= start


def _number(patch: Any, name: str) -> Any:
    owner = getattr(patch, "__self__", patch)
    function = getattr(patch, "__func__", patch)
    if isinstance(function, FunctionType) and function.__closure__ and name in function.__code__.co_freevars:
        return function.__closure__[function.__code__.co_freevars.index(name)].cell_contents
    return getattr(owner, name, None)
