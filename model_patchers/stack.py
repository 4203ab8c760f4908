"""A cache around a network's stack of blocks, for the length of one call.

Each block of the stack gets a ``forward`` of its own while the network runs, and the network one that learns the call's
arguments.  Nothing of the host's forward is copied: on a skipped pass the blocks after the probe hand their arguments
through, and the last one hands over the estimate.  Replacements of other packs' in ``patches_replace`` are blocks too,
as they may never call what they replace.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ..dicache_core import ForwardPass
from .block_call import BlockCall, ForwardCall, ReplacementCall
from .family import Block, Family
from .image_tokens import ImageTokens
from .method_patching import by_name, end_of_cache, exclusively, replace, set_options, signature_in
from .subbatch import SubBatch, can_split
from .unet import CachedUNet


@contextmanager
def stack_around(family: Family, network: nn.Module, cache: ForwardPass) -> Iterator[None]:
    """Puts ``cache`` around the stack of ``network`` for one call of it, and takes everything away again.

    ``network`` is the host's ``diffusion_model``; one thread at a time has it.  A U-Net's deep part is its stack.
    """
    stack = (CachedUNet if family.unet else CachedStack)(family, network, cache)
    # The inner function where there is one: other packs' wrappers around it may change the arguments.
    name = "_forward" if hasattr(network, "_forward") else "forward"

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            bound = signature_in(type(network), name).bind(*args, **kwargs)
            bound.apply_defaults()
            return stack.run(original, bound)

        return call

    with exclusively(network), ExitStack() as restored:
        replace(network, name, around, restored)
        yield


class CachedStack:
    """The stack of one network during one call."""

    def __init__(self, family: Family, network: nn.Module, cache: ForwardPass) -> None:
        self.family = family
        self.network = network
        self.cache = cache
        self.depth = cache.run.probe_depth
        self.entered = False
        self.decided = False
        self.skipping = False  # from the decision on: every sample is reused
        self.ended = False  # the cache cannot follow this call
        self.split: SubBatch | None = None
        self._replaced: int | None = None  # block whose replacement is running: it may call the block itself
        self._side_work = ExitStack()

    def run(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """Call ``original``, the network's forward, with the cache around the stack."""
        self.arguments = call = by_name(bound)
        self.blocks = self.family.blocks(self.network)
        self.last = len(self.blocks) - 1
        self.tokens = ImageTokens(self.family, self.network, call, samples=len(self.cache.keys))
        options = call.get("transformer_options") or {}
        self.can_split = can_split(self.family, self.network, call, options)
        set_options(bound, self._around_patches(self._around_replacements(options)))
        with self._side_work, ExitStack() as restored:
            for index, block in enumerate(self.blocks):
                around = functools.partial(self._around_forward, index, block)
                replace(block.module, block.part.method, around, restored)
            return original(*bound.args, **bound.kwargs)

    def _around_forward(self, index: int, block: Block, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._replaced == index:
                return original(*args, **kwargs)
            return self._visit(index, ForwardCall(block, original, args, kwargs))

        return forward

    def _around_replacements(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with the cache around every replacement that another pack has for a block of the stack."""
        places = options.get("patches_replace", {})
        foreign = places.get("dit", {})
        ours = {
            block.key: functools.partial(self._visit_replaced, index, block, foreign[block.key])
            for index, block in enumerate(self.blocks)
            if block.key in foreign
        }
        return {**options, "patches_replace": {**places, "dit": {**foreign, **ours}}} if ours else options

    def _around_patches(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with patches that the host calls between blocks, such as control models, idle on a skipped pass.

        What one does after the last block acts on the estimate as on a computed output, so that has to stay.
        """
        places, kind = options.get("patches", {}), self.family.parts[0].key or "double_block"
        if len(self.family.parts) > 1 or not places.get(kind):
            return options  # of several parts the host numbers each anew
        between = [functools.partial(self._between, patch) for patch in places[kind]]
        return {**options, "patches": {**places, kind: between}}

    def _between(self, patch: Callable[[Any], Any], args: dict[str, Any]) -> Any:
        return args if self.skipping and args["block_index"] != self.last else patch(args)

    def _visit_replaced(self, index: int, block: Block, replacement: Callable[..., Any], args: Any, extra: Any) -> Any:
        def run(*given: Any) -> Any:
            outer, self._replaced = self._replaced, index
            try:
                return replacement(*given)
            finally:
                self._replaced = outer

        return self._visit(index, ReplacementCall(block, run, args, extra))

    def _visit(self, index: int, call: BlockCall) -> Any:
        if self.family.aside is not None and self.family.aside(call.arguments):
            return call.run()
        if index == 0 and not self.ended:
            self._enter(call)
        if self.ended or not self.entered:
            return call.run()
        if index < self.depth:
            result = call.run()
            if index == self.depth - 1:
                self.cache.probe(self.tokens.read(call.hidden_of(result), call.part))
                self._decide(call)
            return result
        if not self.decided or index < self.family.opening:
            return call.run()  # not decided: another pack's forward, which left out a block of the probe
        if self.skipping:
            return call.handed_through(self._estimated(call) if index == self.last else call.hidden)
        result = self._rest(call, last=index == self.last)
        return self._completed(call, result) if index == self.last else result

    def _enter(self, call: BlockCall) -> None:
        if self.entered:
            self._end()
            return
        self.entered = True
        modulated, indicator = None, self.cache.run.indicator
        if indicator.wants_modulated:
            modulated = self.tokens.read(self.family.modulated(self.network, call.arguments), call.part)
            if indicator.wants_grid:
                modulated = modulated.unflatten(1, self.family.grid(self.network, self.arguments["x"].shape))
        self.cache.enter(self.tokens.read(call.hidden, call.part), modulated)
        if self.depth == 0:
            if not self.cache.decisions:
                self.cache.decide()
            self._decide(call)

    def _end(self) -> None:
        self.ended, self.skipping, self.split = True, False, None
        end_of_cache(self.cache, self.family)

    def _decide(self, call: BlockCall) -> None:
        """Where samples disagree, the rest of the stack gets fewer of them; work beside it stops with the stack."""
        self.decided = True
        needed = self.family.must_run is not None and self.family.must_run(call.arguments)
        self.skipping = self.cache.all_reused and not needed
        if not self.skipping:
            if self.can_split and any(self.cache.reuse) and not needed:
                self.split = SubBatch(self.cache.reuse, self.family.batched)
            return
        if self.family.side_work is not None:
            for work in self.family.side_work(self.network, self.last, call.arguments):
                replace(work.owner, work.attribute, lambda _own, idle=work.idle: idle, self._side_work)

    def _rest(self, call: BlockCall, last: bool) -> Any:
        """A block after the probe, for the samples that are computed."""
        if self.split is not None and not self.split.started and not self.split.fits(call.arguments):
            self.split = None  # an argument whose rows nobody knows: the whole batch, as if all were computed
        if self.split is None:
            return call.run()
        result = call.run(self.split.narrow(call.arguments, call.part.hidden))
        return self.split.widen(result) if last else result

    def _completed(self, call: BlockCall, result: Any) -> Any:
        hidden = call.hidden_of(result)
        tokens = self.tokens.read(hidden, call.part)
        self.cache.complete(tokens)
        if not any(self.cache.reuse):
            return result
        return call.with_hidden(result, self.tokens.write(hidden, call.part, tokens))

    def _estimated(self, call: BlockCall) -> Any:
        """The last block's hidden state with the image's tokens rebuilt, in memory of its own."""
        hidden = self.tokens.copy(call.hidden)
        tokens = self.tokens.read(hidden, call.part)
        self.cache.rebuild(tokens)
        return self.tokens.write(hidden, call.part, tokens)
