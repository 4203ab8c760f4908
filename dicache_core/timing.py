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
    """Times the work queued on one device between construction and ``stop``, or from where another one stopped.

    On CUDA (and ROCm) two events travel with the work and are read once they have passed, so that measuring costs no
    sync; elsewhere the host's clock is used.
    """

    def __init__(self, device: torch.device, after: Stopwatch | None = None) -> None:
        self.device = device
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self.stopped: torch.cuda.Event | float | None = None
        self._begin = self._now() if after is None else after.stopped

    def stop(self) -> None:
        self.stopped = self._now()

    @property
    def seconds(self) -> float | None:
        """Measured seconds, ``None`` while the device has not got there yet."""
        if self.stopped is None:
            return None
        if self._stream is None:
            return self.stopped - self._begin
        return self._begin.elapsed_time(self.stopped) / 1000 if self.stopped.query() else None

    def _now(self) -> torch.cuda.Event | float:
        if self._stream is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event
