"""Which stream a forward pass belongs to.

The same cond uuid is not the same pass: guidance nodes call the model again in the same step with other block patches,
context windows run several windows per step, and multi-device hosts run clones in threads.  A stream is the cond's
uuid, the foreign patches, the hooks in force with their strengths, the context window, the device, and the lane that
the call belongs to.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import torch
from comfy.model_base import BaseModel

from ..dicache_core import Lane, LaneBook, SampleKey

COND, UNCOND = 0, 1  # as the host numbers them in ``cond_or_uncond``

Hooks = tuple[tuple[Hashable, float], ...]


class Stream(NamedTuple):
    """Everything that tells one pass of a step from another."""

    uuid: Hashable
    patches: frozenset[Hashable]
    hooks: Hooks
    window: tuple[int, ...] | None
    device: torch.device
    lane: int


class StreamBook:
    """Names the streams of one run, and sorts the calls of each into lanes; ``expected`` are the sampler's own."""

    def __init__(self, expected: tuple[Lane, ...]) -> None:
        self._expected = expected
        self._lanes: dict[Stream, LaneBook] = {}  # keyed with lane = 0
        self._lock = threading.Lock()

    def keys(
        self, options: Mapping[str, Any], sigma: float, samples: int, device: torch.device, hooks: Hooks = ()
    ) -> tuple[int, int | None, list[SampleKey]]:
        """The lane of the call and its place in it if it was expected, and one key per row of a batch of ``samples``,
        in which the conds of ``options["uuids"]`` follow one another."""
        uuids = options["uuids"]
        rows = samples // len(uuids)
        patches, window = _foreign_patches(options), _window(options)
        streams = [Stream(uuid, patches, hooks, window, device, 0) for uuid in uuids]
        places = [self._enter(stream, sigma) for stream in streams]
        inside = [stream._replace(lane=lane) for stream, (lane, _) in zip(streams, places, strict=True)]
        return *places[0], [SampleKey(stream, row, device) for stream in inside for row in range(rows)]

    def _enter(self, stream: Stream, sigma: float) -> tuple[int, int | None]:
        with self._lock:
            return self._lanes.setdefault(stream, LaneBook(self._expected)).enter(sigma)


def leaders(options: Mapping[str, Any], samples: int) -> dict[int, int]:
    """Of each unconditional row in a batch of ``samples`` the conditional one of the same picture.

    Empty where the batch is not one cond and its uncond: of several nobody knows which of them belongs to which.
    """
    kinds = options["cond_or_uncond"]
    if sorted(kinds) != [COND, UNCOND]:
        return {}
    rows, cond, uncond = samples // 2, kinds.index(COND), kinds.index(UNCOND)
    return {uncond * rows + row: cond * rows + row for row in range(rows)}


def hook_strengths(model: BaseModel) -> Hooks:
    """The hooks that the host has applied to ``model`` for the present pass (LoRAs on conds, say), and their strengths.

    Keyframes change a strength in the middle of a run, and with it the weights: what was kept before tells nothing of
    what comes after.
    """
    group = model.current_patcher.current_hooks
    return () if group is None else tuple((hook.hook_ref, hook.strength) for hook in group.hooks)


def _foreign_patches(options: Mapping[str, Any]) -> frozenset[Hashable]:
    """Every patch in force, by place and identity; holding the functions keeps their identities from being reused."""
    found: set[Hashable] = set()
    for name, patches in options.get("patches", {}).items():
        found.update((name, _identity(patch)) for patch in patches)
    for name, replacements in options.get("patches_replace", {}).items():
        found.update((name, key, _identity(patch)) for key, patch in replacements.items())
    return frozenset(found)


def _identity(patch: Any) -> Hashable:
    """The patch itself where it can be hashed (bound methods compare equal each time they are looked up)."""
    return patch if isinstance(patch, Hashable) else id(patch)


def _window(options: Mapping[str, Any]) -> tuple[int, ...] | None:
    window = options.get("context_window")
    return None if window is None else tuple(window.index_list)
