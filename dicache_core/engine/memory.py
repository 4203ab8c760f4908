"""What a cache holds between steps and needs during one, worked out before the first."""

from __future__ import annotations

import torch

from ..config import CacheConfig
from ..methods.indicators import Stage, indicator_class
from ..methods.predictors import Space, predictor_class
from ..reductions import pooled_count, probe_token_count
from .input_jump import subsample_bytes

ROOM_MARGIN = 1.1  # allocators round sizes up and leave gaps


def expected_bytes(
    config: CacheConfig,
    tokens: int,
    width: int,
    dtype: torch.dtype,
    batch: int = 1,
    latent: int = 0,
    segments: int = 1,
) -> int:
    """Bytes held between steps for ``batch`` samples of ``tokens`` image tokens of ``width`` channels.

    ``batch * width * size * (residuals * tokens + probes * probe tokens)``: for DiCache two residuals and three probes,
    which are kept on 1/84 of the tokens (on all of them up to 1024).  A residual in 8 bits takes one byte per value and
    one scale per token instead.  Beside them ``InputTracker`` keeps less than 32 KiB of a model's input of ``latent``
    values.  Of a stack that is decided in parts, each of its ``segments`` keeps all but that.
    """
    sizes = _Sizes(config, tokens, width, dtype)
    predictor, indicator = predictor_class(config.predictor), indicator_class(config.indicator)
    probes = (predictor.probes + indicator.probes) * sizes.probe
    return batch * (segments * (predictor.residuals * sizes.resting + probes) + subsample_bytes(latent))


def peak_bytes(
    config: CacheConfig,
    tokens: int,
    width: int,
    dtype: torch.dtype,
    batch: int = 1,
    latent: int = 0,
    segments: int = 1,
    *,
    in_main_memory: bool = False,
) -> int:
    """Bytes on the model's device where a pass of all ``batch`` samples needs the most of them.

    Beside what is held there between steps (in main memory no residuals are), each sample has a copy of what enters the
    stack, a third full-size tensor for DiCache, the probe's states, and what is kept of the model's input, at this call
    and the last.  Samples are rebuilt one after the other: one at a time has its residuals brought back and unpacked.
    Of a stack in parts all samples of one more segment have theirs brought back, for one is fetched ahead.
    """
    sizes = _Sizes(config, tokens, width, dtype)
    predictor, indicator = predictor_class(config.predictor), indicator_class(config.indicator)
    probed = predictor.probes > 0 or indicator.stage is Stage.PROBE
    passing = (3 if probed else 0) + indicator.wants_modulated  # h0, hm, hm - h0, and the modulated input
    probes, seen = (predictor.probes + indicator.probes + passing) * sizes.probe, 2 * subsample_bytes(latent)
    if predictor.space is not Space.RESIDUAL:
        return batch * (probes + seen)
    resting = 0 if in_main_memory else predictor.residuals * sizes.resting
    brought = sizes.resting if in_main_memory else 0
    unpacked = sizes.full if config.residual_bits == 8 else 0
    rebuilding = predictor.residuals * max(brought, unpacked) + min(brought, unpacked)
    packing = sizes.full + sizes.resting if unpacked else 0
    ahead = 2 * batch * predictor.residuals * brought if segments > 1 else 0  # of the segment that is rebuilt, too
    return batch * (segments * (resting + probes) + sizes.full + seen) + max(rebuilding + ahead, packing)


class _Sizes:
    """Bytes of one sample's tensors: a full one ``(T, D)``, one at rest, and the probe's tokens ``(K, D)``."""

    def __init__(self, config: CacheConfig, tokens: int, width: int, dtype: torch.dtype) -> None:
        self.full = tokens * width * dtype.itemsize
        self.resting = tokens * (width + dtype.itemsize) if config.residual_bits == 8 else self.full
        pools = indicator_class(config.indicator).pools
        measured = pooled_count(tokens, max(pools))[0] if pools else probe_token_count(tokens, config.probe_tokens)
        self.probe = measured * width * dtype.itemsize


def fits(needed: int, free: int) -> bool:
    """Whether ``needed`` bytes go into ``free`` bytes with some room to spare."""
    return needed * ROOM_MARGIN <= free
