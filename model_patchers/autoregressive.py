"""Autoregressive video: what a skipped call would have left behind in the host's memory of keys and values."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor, nn


def pass_over(model: nn.Module, x: Tensor, options: dict[str, Any]) -> None:
    """Count a chunk ``x`` ``(N, C, T, H, W)`` that the model is not run on as one that it was run on.

    Every call writes its chunk's keys and values behind those of the chunks before, and the sampler takes that back
    before the next one writes over them.  A call that does not happen writes nothing, but is taken back all the same.
    """
    state = options.get("ar_state")
    if state is None:
        return
    tokens = prod(-(-size // patch) for size, patch in zip(x.shape[2:], model.patch_size, strict=True))
    for cache in state["kv_caches"]:
        cache["end"] += tokens
