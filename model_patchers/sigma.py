"""Reading the current sigma."""

from __future__ import annotations

from torch import Tensor


def read_sigma(sigmas: Tensor) -> float:
    """The first entry of a sigma tensor ``(N,)`` of any device.

    Samplers keep sigma beside the model, so that reading it waits for what is queued there: a pass has one device sync
    for its sigma, and a second one where its decision is open (``ForwardPass.decide``).  What a pass does depends on
    its step, so there is nothing to put between asking and waiting.
    """
    return sigmas.detach().reshape(-1)[:1].tolist()[0]
