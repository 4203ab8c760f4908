"""Seconds of a forward pass without waiting for the device."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Measured:
    """What a stopwatch showed: ``seconds`` as ``Stopwatch.seconds``."""

    seconds: float | None


class Stopwatch:
    """Times the work queued between construction and ``stop`` on one device.

    On CUDA (and ROCm) two events travel with the work and are read once they have passed, so that measuring costs no
    sync; elsewhere the host's clock is used.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._end: torch.cuda.Event | float | None = None
        self._begin = self._now()

    def stop(self) -> None:
        self._end = self._now()

    @property
    def seconds(self) -> float | None:
        """Measured seconds, ``None`` while the device has not got there yet."""
        if self._end is None:
            return None
        if self._stream is None:
            return self._end - self._begin
        return self._begin.elapsed_time(self._end) / 1000 if self._end.query() else None

    def _now(self) -> torch.cuda.Event | float:
        if self._stream is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event
