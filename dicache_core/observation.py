"""What one sample shows of itself during one forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from .schedule import Step


@dataclass
class Observation:
    """One sample in one forward pass; ``K`` probe tokens of width ``D``.

    Slots:
        step: place in the schedule.
        latent: ``(C, ...)`` input of the whole model, owned by the host: copy what is kept.
        picture: ``(C, ...)`` what the model sees in the latent, ``x - sigma d``; known behind a computed call.
        h0: ``(K, D)`` hidden state that enters the block stack, an own copy.
        hm: ``(K, D)`` hidden state after the probe's blocks, an own copy; ``None`` without a probe.
        modulated: ``(K, D)`` modulated input of the first block, for indicators that ask for it.
        follows, leads: whether this is the unconditional row of a pair in one pass, or its conditional one.
        leader: ``(C, ...)`` output of the conditional row, for an unconditional one, where it was computed or this row
            is forecast; the host's: copy what is kept.
    """

    step: Step
    latent: Tensor | None = None
    picture: Tensor | None = None
    h0: Tensor | None = None
    hm: Tensor | None = None
    modulated: Tensor | None = None
    follows: bool = False
    leads: bool = False
    leader: Tensor | None = None

    @cached_property
    def probe_residual(self) -> Tensor:
        """``q = hm - h0``, ``(K, D)`` in the model's dtype, subtracted in float32."""
        return (self.hm.float() - self.h0.float()).to(self.hm.dtype)
