"""What a cache holds between steps and needs during one, worked out before the first."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..config import CacheConfig
from ..effective_settings import stage_of
from ..methods.base import Stage
from ..methods.indicators import indicator_class
from ..methods.predictors import Space, predictor_class
from ..reductions import pooled_count, probe_token_count
from .input_jump import subsample_bytes

ROOM_MARGIN = 1.1  # allocators round sizes up and leave gaps


@dataclass(frozen=True)
class CacheMemory:
    """Bytes of a run's cache.

    Attributes:
        config: the run's settings.
        tokens, width: image tokens of a sample, and channels of each.
        dtype: of the model.
        batch: samples.
        latent: values of the model's input, per sample.
        segments: how many are kept one by one, of a stack that is decided in parts.
    """

    config: CacheConfig
    tokens: int
    width: int
    dtype: torch.dtype
    batch: int = 1
    latent: int = 0
    segments: int = 1

    def expected_bytes(self) -> int:
        """Held between steps.

        ``batch * width * size * (residuals * tokens + probes * probe tokens)``: for DiCache two residuals and three
        probes, which are kept on 1/84 of the tokens (on all of them up to 1024).  A residual in 8 bits takes one byte
        per value and one scale per token instead.  Beside them ``InputTracker`` keeps less than 32 KiB of a model's
        input.  Of a stack that is decided in parts, each of its segments keeps all but that.
        """
        predictor, indicator = predictor_class(self.config.predictor), indicator_class(self.config.indicator)
        probes = (predictor.probes + indicator.probes) * self._probe
        return self.batch * (self.segments * (predictor.residuals * self._resting + probes) + self._input)

    def peak_bytes(self, *, in_main_memory: bool = False) -> int:
        """On the model's device where a pass of all samples needs the most of them.

        Beside what is held there between steps (in main memory no residuals are), each sample has a copy of what enters
        the stack, a third full-size tensor for DiCache, the probe's states, and what is kept of the model's input, at
        this call and the last.  Samples are rebuilt one after the other: one at a time has its residuals brought back
        and unpacked.  Of a stack in parts all samples of one more segment have theirs brought back, for one is fetched
        ahead.
        """
        predictor, indicator = predictor_class(self.config.predictor), indicator_class(self.config.indicator)
        probed = stage_of(self.config.indicator, self.config.predictor) is Stage.PROBE
        passing = (3 if probed else 0) + indicator.wants_modulated  # h0, hm, hm - h0, and the modulated input
        probes, seen = (predictor.probes + indicator.probes + passing) * self._probe, 2 * self._input
        if predictor.space is not Space.RESIDUAL:
            return self.batch * (probes + seen)
        resting = 0 if in_main_memory else predictor.residuals * self._resting
        brought = self._resting if in_main_memory else 0
        unpacked = self._full if self.config.residual_bits == 8 else 0
        rebuilding = predictor.residuals * max(brought, unpacked) + min(brought, unpacked)
        packing = self._full + self._resting if unpacked else 0
        # Of the segment that is rebuilt, and of the one that is fetched ahead.
        ahead = 2 * self.batch * predictor.residuals * brought if self.segments > 1 else 0
        return self.batch * (self.segments * (resting + probes) + self._full + seen) + max(rebuilding + ahead, packing)

    @property
    def _full(self) -> int:
        """Of one sample's hidden state ``(T, D)``."""
        return self.tokens * self.width * self.dtype.itemsize

    @property
    def _resting(self) -> int:
        """The same between steps."""
        return self.tokens * (self.width + self.dtype.itemsize) if self.config.residual_bits == 8 else self._full

    @property
    def _probe(self) -> int:
        """Of one sample's probe tokens ``(K, D)``."""
        pools, wanted = indicator_class(self.config.indicator).pools, self.config.probe_tokens
        measured = pooled_count(self.tokens, max(pools))[0] if pools else probe_token_count(self.tokens, wanted)
        return measured * self.width * self.dtype.itemsize

    @property
    def _input(self) -> int:
        """Of what is kept of one sample's input."""
        return subsample_bytes(self.latent)


def fits(needed: int, free: int) -> bool:
    """Whether ``needed`` bytes go into ``free`` bytes with some room to spare."""
    return needed * ROOM_MARGIN <= free
