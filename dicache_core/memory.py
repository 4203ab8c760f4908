"""What a cache holds between steps, worked out before the first one."""

from __future__ import annotations

import torch

from .config import CacheConfig
from .indicators import indicator_class
from .measure import probe_token_count
from .predictors import predictor_class

ROOM_MARGIN = 1.1  # allocators round sizes up and leave gaps


def expected_bytes(config: CacheConfig, tokens: int, width: int, dtype: torch.dtype, batch: int = 1) -> int:
    """Bytes held between steps for ``batch`` samples of ``tokens`` image tokens of ``width`` channels.

    ``batch * width * size * (residuals * tokens + probes * probe tokens)``: for DiCache two residuals and three probes,
    which are kept on 1/84 of the tokens (on all of them up to 1024).  A residual in 8 bits takes one byte per value and
    one scale per token instead.
    """
    predictor, indicator = predictor_class(config.predictor), indicator_class(config.indicator)
    value = dtype.itemsize
    residual = tokens * (width + value) if config.residual_bits == 8 else tokens * width * value
    probe = probe_token_count(tokens, config.probe_tokens) * width * value
    return batch * (predictor.residuals * residual + (predictor.probes + indicator.probes) * probe)


def fits(needed: int, free: int) -> bool:
    """Whether ``needed`` bytes go into ``free`` bytes with some room to spare."""
    return needed * ROOM_MARGIN <= free
