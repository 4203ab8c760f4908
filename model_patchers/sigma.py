"""Reading the current sigma without draining the device's queue."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor


class SigmaReading:
    """The first entry of a sigma tensor, on its way to the host.

    Samplers keep sigma on the device.  Reading it there would wait for everything queued; on CUDA a copy into pinned
    memory is queued at the start of the pass instead, which has long arrived when the first blocks have been queued.
    """

    def __init__(self, sigmas: Tensor) -> None:
        self._arrived = None
        self._value = sigmas.detach().reshape(-1)[:1]
        if self._value.is_cuda:
            host = torch.empty(1, dtype=self._value.dtype, pin_memory=True)
            self._value = host.copy_(self._value, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    @cached_property
    def value(self) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._value.tolist()[0]
