"""Where residuals rest between steps: beside the model or in main memory, in the model's dtype or in 8 bits.

``keep`` takes a tensor over and ``load`` gives it back for reading; beside the model in its own dtype both do nothing.
In main memory the copies travel on a stream of their own: out while the model goes on, back when a skipped step is
rebuilt and not before, for until the decision nobody knows whether they are needed, and the memory is.  Where a
decision is known beforehand, ``fetch`` begins the way back while the model computes what comes before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..reasons import Reason

LARGEST_INT8 = 127
# The first name is torch's since 2.5, the second one that of older versions.
OUT_OF_MEMORY: type[Exception] = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)


class CacheError(RuntimeError):
    """The cache cannot go on, and the run can without it.

    ``found`` says why in words, ``reason`` is that of the run's decisions from then on.
    """

    found: ClassVar[str]
    reason: ClassVar[Reason]


class CacheOutOfMemoryError(CacheError):
    """An allocation of the cache's own failed; the model's propagate as they are."""

    found = "no memory left for the cache"
    reason = Reason.OUT_OF_MEMORY


@contextmanager
def cache_allocations() -> Iterator[None]:
    """Marks work whose allocations are the cache's own, so that running out of memory costs only the cache.

    Raises:
        CacheOutOfMemoryError: in place of the device's error.
    """
    try:
        yield
    except OUT_OF_MEMORY as error:
        raise CacheOutOfMemoryError(str(error)) from error


@dataclass(eq=False)
class Stored:
    """One tensor at rest.

    Attributes:
        parts: what rests: the tensor ``(T, D)`` itself, or its int8 values ``(T, D)`` and their scale ``(T, 1)``.
        device: where the tensor came from and is loaded to.
    """

    parts: tuple[Tensor, ...]
    device: torch.device


class Storage:
    """Keeps tensors for one sampling run."""

    def __init__(self, in_main_memory: bool = False, bits: int = 16) -> None:
        self.in_main_memory = in_main_memory
        self.bits = bits
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._fetched: dict[Stored, tuple[Tensor, ...]] = {}

    def keep(self, value: Tensor) -> Stored:
        """Put ``value`` ``(T, D)`` to rest; it belongs to the storage from now on, 8-bit packing overwrites it."""
        parts = _pack(value) if self.bits == 8 else (value,)
        if self.in_main_memory:
            parts = tuple(self._send(part) for part in parts)
        return Stored(parts, value.device)

    def load(self, stored: Stored) -> Tensor:
        """The tensor ``(T, D)`` on its device, for reading only: it may be the resting one itself."""
        parts = stored.parts
        if self.in_main_memory:
            parts = self._fetched.pop(stored, None) or self._brought(stored)
            self._await(parts, stored.device)
        return torch.mul(*parts) if self.bits == 8 else parts[0]

    def fetch(self, stored: Stored) -> None:
        """Begin to bring back what ``load`` will ask for; beside the model there is nothing to do."""
        if self.in_main_memory and stored not in self._fetched:
            self._fetched[stored] = self._brought(stored)

    def drop_fetched(self) -> None:
        """Nobody will ask for what was fetched and not loaded."""
        self._fetched.clear()

    def _brought(self, stored: Stored) -> tuple[Tensor, ...]:
        return tuple(self._bring(part, stored.device) for part in stored.parts)

    def _send(self, part: Tensor) -> Tensor:
        """A copy in main memory; on CUDA (and ROCm) pinned, and complete only once the side stream has passed it."""
        if not part.is_cuda:
            return part.to("cpu")
        host, stream = _pinned_like(part), self._stream(part.device)
        stream.wait_stream(torch.cuda.current_stream(part.device))  # the values have to be there before they are copied
        with torch.cuda.stream(stream):
            host.copy_(part, non_blocking=True)
        part.record_stream(stream)  # its memory is not given away before the copy is done
        return host

    def _bring(self, part: Tensor, device: torch.device) -> Tensor:
        """A copy on ``device``; the same side stream carries both ways, so that it comes after the copy out."""
        if device.type != "cuda":
            return part.to(device)
        with torch.cuda.stream(self._stream(device)):
            return part.to(device, non_blocking=True)

    def _await(self, parts: tuple[Tensor, ...], device: torch.device) -> None:
        """Let the work queued from now on wait for the copies; the host waits for nothing."""
        if device.type != "cuda":
            return
        current = torch.cuda.current_stream(device)
        current.wait_stream(self._stream(device))
        for part in parts:
            part.record_stream(current)

    def _stream(self, device: torch.device) -> torch.cuda.Stream:
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)
        return self._streams[device]


def _pack(value: Tensor) -> tuple[Tensor, Tensor]:
    """int8 values ``(T, D)`` and a scale per token ``(T, 1)`` in the tensor's dtype, worked out in its own memory."""
    scale = value.abs().amax(-1, keepdim=True).div_(LARGEST_INT8).clamp_min_(torch.finfo(value.dtype).tiny)
    # In 16 bits the scale is rounded, so that the largest value may come out a little above 127.
    return value.div_(scale).round_().clamp_(-LARGEST_INT8, LARGEST_INT8).to(torch.int8), scale


def _pinned_like(part: Tensor) -> Tensor:
    """Pinned memory is scarce on some systems (half of all memory on Windows); ordinary memory only copies slower."""
    try:
        return torch.empty(part.shape, dtype=part.dtype, pin_memory=True)
    except RuntimeError:
        return torch.empty(part.shape, dtype=part.dtype)
