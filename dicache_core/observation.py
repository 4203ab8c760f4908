"""What one sample shows of itself during one forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .schedule import ModelCall
from .segments import Segment


@dataclass
class Observation:
    """One sample in one forward pass; ``K`` probe tokens of width ``D``.

    Attributes:
        step: place in the schedule.
        latent: ``(C, ...)`` input of the whole model, owned by the host: copy what is kept.
        denoised: ``(C, ...)`` what the model sees in the latent, ``x - sigma d``; known after a computed call.
        h0: ``(K, D)`` hidden state that enters the block stack, an own copy.
        hm: ``(K, D)`` hidden state after the probe's blocks, an own copy; ``None`` without a probe.
        modulated: ``(K, D)`` modulated input of the first block as the indicator views it, for those that ask for it.
        displaced: ``(C, ...)`` what the skips before a computed call have displaced in the image, by its audit;
            ``None`` without skips, and from predictors without an error estimate.
        is_uncond, is_cond: whether this is the unconditional row of a pair in one pass, or its conditional one.
        cond_output: ``(C, ...)`` output of the conditional row, for an unconditional one, where it was computed or this
            row is forecast; the host's: copy what is kept.
        segment: which part of the stack is looked at; ``None`` is the whole of it.
        led: whether the segment before this one is reused at this call.
    """

    step: ModelCall
    latent: Tensor | None = None
    denoised: Tensor | None = None
    h0: Tensor | None = None
    hm: Tensor | None = None
    modulated: Tensor | None = None
    is_uncond: bool = False
    is_cond: bool = False
    cond_output: Tensor | None = None
    displaced: Tensor | None = None
    segment: Segment | None = None
    led: bool = False

    @cached_property
    def probe_residual(self) -> Tensor:
        """``q = hm - h0``, ``(K, D)`` in the model's dtype, subtracted in float32."""
        return (self.hm.float() - self.h0.float()).to(self.hm.dtype)
