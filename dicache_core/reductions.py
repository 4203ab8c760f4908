"""Sums over hidden states: always float32, always 0-d tensors on the device, fetched together in one transfer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

ALL_TOKENS_UP_TO = 1024  # below this a subset saves nothing worth having
TOKENS_PER_PROBE_TOKEN = 84  # four probe tensors on 1/84 of the tokens stay under 5% of one residual
FEWEST_PROBE_TOKENS = 48
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

Reducer = Callable[[Tensor], Tensor]


def abs_sum(x: Tensor) -> Tensor:
    """Sum of magnitudes in float32, whatever the model's dtype: ``(K, D) -> ()``."""
    return x.abs().sum(dtype=torch.float32)


def l1_distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance ``sum|a - b|`` in float32: ``(K, D), (K, D) -> ()``."""
    return abs_sum(a.float() - b.float())


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``, or infinity where the quotient means nothing (zero or non-finite parts)."""
    if not math.isfinite(numerator) or not math.isfinite(denominator) or denominator <= 0:
        return math.inf
    return numerator / denominator


def rel_l1_sums(now: Tensor, before: Tensor | None) -> list[Tensor]:
    """``sum|now - before|`` and ``sum|before|``, for ``rel_l1``; none while there is nothing to compare with."""
    return [] if before is None else [l1_distance(now, before), abs_sum(before)]


def rel_l1(sums: Sequence[float]) -> float:
    """``mean|now - before| / mean|before|`` from the sums of ``rel_l1_sums``; infinity while there are none."""
    return ratio(*sums) if sums else math.inf


def to_host(sums: Sequence[Tensor], reduce: Reducer | None = None) -> list[float]:
    """Bring 0-d sums to the host in a single transfer: the one device sync of a decision.

    ``reduce`` adds the sums of other ranks where each holds a slice of the tokens (sequence parallelism); since every
    indicator works with sums, all ranks then decide alike.
    """
    if not sums:
        return []
    together = torch.stack([each.to(sums[0].device) for each in sums])  # streams of other devices may answer too
    if reduce is not None:
        together = reduce(together)
    return together.tolist()


def mean_pool(h: Tensor, wanted: int) -> Tensor:
    """Means over neighbouring tokens, ``(N, T, D) -> (N, K, D)``, ``T // wanted`` each; the last few drop out."""
    count, size = pooled_count(h.shape[1], wanted)
    return h[:, : count * size].unflatten(1, (count, size)).mean(2)


def pooled_count(tokens: int, wanted: int) -> tuple[int, int]:
    """How many means there are of ``tokens`` tokens, and of how many neighbours each."""
    size = max(1, tokens // wanted)
    return tokens // size, size


def probe_token_count(tokens: int, wanted: int = 0) -> int:
    """How many of ``tokens`` tokens the probe is kept on."""
    if wanted:
        return min(wanted, tokens)
    if tokens <= ALL_TOKENS_UP_TO:
        return tokens
    return max(FEWEST_PROBE_TOKENS, tokens // TOKENS_PER_PROBE_TOKEN)


def probe_token_index(tokens: int, count: int, device: torch.device) -> Tensor | None:
    """``(count,)`` sorted token positions spread over ``tokens``, or ``None`` for all of them.

    A plain stride would fall on the same image column again and again whenever it divides the row length; multiples
    of the golden ratio spread evenly over every row length.
    """
    if count >= tokens:
        return None
    places = {math.floor((i + 0.5) * GOLDEN_RATIO % 1.0 * tokens) for i in range(count)}
    return torch.tensor(sorted(places), dtype=torch.long, device=device)
