"""A cache around the deep part of a U-Net, for the length of one call (after DeepCache, Ma et al., arXiv 2312.00858).

A U-Net has no stack that one hidden state runs through, but what its outer blocks get from all inner ones is one
tensor: the deep feature.  On a reused pass only the outermost ``probe_depth`` blocks of either side run (the paper's
branch is that number less one).  Skipped input blocks are not missed, as their skip tensors go to skipped output
blocks only.

Channels change on the way, so there is no residual: the cache takes ``h0`` to be nothing.  What it keeps is the deep
feature itself, and the probe is the hidden state that enters the deep part.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from ..dicache_core import ForwardPass
from .family import Family
from .method_patching import by_name, end_of_cache, replace


class CachedUNet:
    """The deep part of one U-Net during one call."""

    def __init__(self, family: Family, network: nn.Module, cache: ForwardPass) -> None:
        self.family = family
        self.network = network
        self.cache = cache
        self.outer = cache.run.config.probe_depth
        self.control: dict[str, list[Tensor | None]] = {}
        self.entered = False
        self.ended = False  # the cache cannot follow this call
        self.skipping = False

    def run(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """Call ``original``, the network's forward, with the cache around its deep part."""
        self.control = by_name(bound).get("control") or {}
        first, *_, last = layers = self._deep_layers()
        with ExitStack() as restored:
            for layer in layers:
                around = self._around_first if layer is first else self._around_last if layer is last else self._around
                replace(layer, "forward", around, restored)
            return original(*bound.args, **bound.kwargs)

    def _deep_layers(self) -> list[nn.Module]:
        """The host runs a block's layers one by one, and never the block."""
        inputs, outputs = list(self.network.input_blocks), list(self.network.output_blocks)
        middle = [] if self.network.middle_block is None else [self.network.middle_block]
        deep = inputs[self.outer :] + middle + outputs[: len(outputs) - self.outer]
        return [layer for block in deep for layer in block]

    def _around_first(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            self._decide(tokens_of(h))
            # One channel stands for all that skipped blocks hand on; a copy, as the host adds to it in place.
            return h[:, :1].clone() if self.skipping else original(h, *args, **kwargs)

        return forward

    def _around(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return h if self.skipping else original(h, *args, **kwargs)

        return forward

    def _around_last(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(h: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if self.skipping:
                deep = h.new_empty(len(h), *self.cache.shape_of("deep"))
                self.cache.rebuild(tokens_of(deep))
                return deep
            deep = original(h, *args, **kwargs)
            if self.entered and not self.ended:
                if not any(self.cache.reuse):
                    self.cache.reset_on_layout_change("deep", deep)
                self.cache.complete(tokens_of(deep))
            return deep

        return forward

    def _decide(self, probe: Tensor) -> None:
        if self.entered:
            self.ended, self.skipping = True, False
            end_of_cache(self.cache, self.family)
            return
        nothing = probe.new_zeros(1, 1, 1).expand_as(probe)
        self.cache.enter(nothing, keeps_whole=True)
        self.entered = True
        if self.cache.run.probe_depth:
            self.cache.probe(probe)
        elif not self.cache.decisions:
            self.cache.decide()
        self.skipping = self.cache.all_reused
        if self.skipping:
            self._leave_out_control()

    def _leave_out_control(self) -> None:
        """What a ControlNet would add in the deep part; the host takes each block's from the end of a list."""
        for name, kept in (("input", 0), ("middle", 0), ("output", self.outer)):
            waiting = self.control.get(name, [])
            waiting[kept:] = [None] * len(waiting[kept:])


def tokens_of(h: Tensor) -> Tensor:
    """``(N, C, H, W) -> (N, T, D)``, a view."""
    return h.flatten(2).transpose(1, 2)
