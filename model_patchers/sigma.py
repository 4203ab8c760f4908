"""Reading the current sigma."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def read_sigma(sigmas: Tensor, others: Sequence[Tensor] = ()) -> list[float]:
    """The first entry of a sigma tensor ``(N,)`` of any device, and with it the numbers ``others``, 0-d, beside it.

    Samplers keep sigma beside the model, so that reading it waits for what is queued there: a pass has one device sync
    for its sigma, and a second one where its decision is open (``ForwardPass.decide``).  What a pass does depends on
    its step, so there is nothing to put between asking and waiting.
    """
    sigma = sigmas.detach().reshape(-1)[:1]
    return torch.cat([sigma, *(other.reshape(1).to(sigma.dtype) for other in others)]).tolist()
