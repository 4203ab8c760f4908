"""Run-time composition: one forward's block replacements, around whatever already stands in ``patches_replace``.

The host calls a replacement as ``patch(args, {"original_block": run})`` and takes ``img`` (and ``txt``) from its
result.  Nothing of the host's forward is copied: on a skipped step the blocks behind the probe hand their arguments
through, and the last one hands over the estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from ..dicache_core import ForwardPass
from .adapter import Adapter
from .blocks import Block, BlockArgs, BlockKey, TokenSpan
from .subbatch import SubBatch, can_split

Patch = Callable[[BlockArgs, Mapping[str, Any]], Mapping[str, Any]]


class CachedStack:
    """The block stack of one model during one forward pass, with a cache around it."""

    def __init__(self, adapter: Adapter, model: nn.Module, cache: ForwardPass, call: Mapping[str, Any]) -> None:
        self.adapter = adapter
        self.model = model
        self.cache = cache
        self.blocks = adapter.blocks(model)
        self.span: TokenSpan = adapter.span(model, call)
        self.depth = cache.session.probe_depth
        self.can_split = can_split(adapter, model, call)
        self.split: SubBatch | None = None
        self.skipping = False  # from the decision on: every sample is reused
        self._side_work = ExitStack()

    def replacements(self, foreign: Mapping[BlockKey, Patch]) -> dict[BlockKey, Patch]:
        """One patch per block; a foreign patch on the same block is called in the block's place."""
        between = self._between  # most blocks share this one: a function made for each, every pass, would take longer
        ends = {0, *range(self.depth), len(self.blocks) - 1}
        return {
            block.key: self._patch(i, block, foreign.get(block.key)) if i in ends or block.key in foreign else between
            for i, block in enumerate(self.blocks)
        }

    def restore(self) -> None:
        """Give the model back the work that was set aside for a skipped pass."""
        self._side_work.close()

    def _patch(self, index: int, block: Block, foreign: Patch | None) -> Patch:
        def patch(args: BlockArgs, extra: Mapping[str, Any]) -> Mapping[str, Any]:
            def run(args: BlockArgs) -> Mapping[str, Any]:
                return foreign(args, extra) if foreign is not None else extra["original_block"](args)

            return self._visit(index, block, args, run)

        return patch

    def _visit(
        self, index: int, block: Block, args: BlockArgs, run: Callable[[BlockArgs], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        if index == 0:
            self._enter(block, args)
        if index < self.depth:
            out = run(args)
            if index == self.depth - 1 and self.cache.entered:
                self.cache.probe(self._tokens(block, out["img"], args))
                self._decided()
            return out
        last = index == len(self.blocks) - 1
        if self.skipping:
            if last:
                self.cache.estimate(self._tokens(block, args["img"], args))
            return args
        out = self._rest(args, run, last)
        if last:
            self.cache.complete(self._tokens(block, out["img"], args))
        return out

    def _between(self, args: BlockArgs, extra: Mapping[str, Any]) -> Mapping[str, Any]:
        """A block between the probe and the last one, with no other patch on it."""
        return args if self.skipping else self._rest(args, extra["original_block"], last=False)

    def _rest(self, args: BlockArgs, run: Callable[[BlockArgs], Mapping[str, Any]], last: bool) -> Mapping[str, Any]:
        """A block behind the probe, for the samples that are computed."""
        if self.split is not None and not self.split.started and not self.split.fits(args):
            self.split = None  # an argument whose rows nobody knows: the whole batch, as if all were computed
        if self.split is None:
            return run(args)
        out = run(self.split.narrow(args))
        return self.split.widen(out) if last else out

    def _enter(self, block: Block, args: BlockArgs) -> None:
        modulated = None
        if self.cache.session.wants_modulated:
            modulated = self._tokens(block, self.adapter.modulated(self.model, args), args)
        self.cache.enter(self._tokens(block, args["img"], args), modulated)
        if self.depth == 0 and not self.cache.decisions:
            self.cache.decide()
            self._decided()

    def _decided(self) -> None:
        """Where samples disagree, the rest of the stack gets fewer of them; work beside it stops with the stack."""
        self.skipping = self.cache.all_reused
        if not self.skipping:
            self.split = SubBatch(self.cache.reuse) if self.can_split and any(self.cache.reuse) else None
            return
        for work in self.adapter.side_work(self.model, last=len(self.blocks) - 1):
            self._side_work.callback(setattr, work.owner, work.attribute, getattr(work.owner, work.attribute))
            setattr(work.owner, work.attribute, work.idle)

    def _tokens(self, block: Block, img: Tensor, args: BlockArgs) -> Tensor:
        return self.span.of(block, img, args)
