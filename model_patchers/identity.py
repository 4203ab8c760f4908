"""Which stream a forward pass belongs to.

The same cond uuid is not the same pass: guidance nodes call the model again in the same step with other block patches,
context windows run several windows per step, and multi-device hosts run clones in threads.  A stream is the cond's
uuid, the foreign patches, the context window, the device, and the lane of falling sigmas that the call belongs to.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import torch

from ..dicache_core import LaneBook, SampleKey


class Stream(NamedTuple):
    """Everything that tells one pass of a step from another."""

    uuid: Hashable
    patches: frozenset[Hashable]
    window: tuple[int, ...] | None
    device: torch.device
    lane: int


class StreamBook:
    """Names the streams of one run, and sorts the calls of each into lanes of falling sigmas."""

    def __init__(self) -> None:
        self._lanes: dict[Stream, LaneBook] = {}  # keyed with lane = 0
        self._lock = threading.Lock()

    def keys(
        self, options: Mapping[str, Any], sigma: float, samples: int, device: torch.device
    ) -> tuple[int, list[SampleKey], list[int]]:
        """For a batch of ``samples`` rows, in which the conds of ``options["uuids"]`` follow one another: the lane of
        the call, and for each row its key and the role of its cond."""
        uuids, roles = options["uuids"], options.get("cond_or_uncond")
        rows = samples // len(uuids)
        patches, window = _foreign_patches(options), _window(options)
        streams = [self._in_lane(Stream(uuid, patches, window, device, 0), sigma) for uuid in uuids]
        keys = [SampleKey(stream, row) for stream in streams for row in range(rows)]
        return streams[0].lane, keys, [role for role in roles or [0] * len(uuids) for _ in range(rows)]

    def _in_lane(self, stream: Stream, sigma: float) -> Stream:
        with self._lock:
            return stream._replace(lane=self._lanes.setdefault(stream, LaneBook()).enter(sigma))


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
