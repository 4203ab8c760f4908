"""A cache around a network's stack of blocks, for the length of one call.

Blocks get a ``forward`` of their own while the network runs, and the network one that learns the call's arguments.
Nothing of the host's forward is copied: the skipped blocks of a segment hand their arguments through, and its last one
hands over the estimate (``segment_run``); most often the whole stack is one segment.  Replacements of other packs' in
``patches_replace`` are blocks too, as they may never call what they replace.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from ..dicache_core import ForwardPass
from ..dicache_core.engine.segmented_pass import SegmentedPass
from ..dicache_core.segments import Segment
from .block_call import BlockCall, ForwardCall, ReplacementCall
from .family import Block, Family, Hidden
from .image_tokens import ImageTokens
from .method_patching import by_name, end_of_cache, exclusively, replace, set_options, signature_in
from .segment_run import NetworkCall, SegmentRun
from .subbatch import can_split
from .unet import CachedUNet


@contextmanager
def stack_around(family: Family, network: nn.Module, cache: ForwardPass | SegmentedPass) -> Iterator[None]:
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

    def __init__(self, family: Family, network: nn.Module, cache: ForwardPass | SegmentedPass) -> None:
        self.family = family
        self.network = network
        self.cache = cache
        self._runs: dict[int, SegmentRun] = {}  # by block; those that nobody has to watch are not there
        self._replaced: int | None = None  # block whose replacement is running: it may call the block itself
        self._ran = False

    def run(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> Any:
        """Call ``original``, the network's forward, with the cache around the stack."""
        if self._ran:  # a wrapper around the network asks it more than once in one pass
            end_of_cache(self.cache, self.family)
            return original(*bound.args, **bound.kwargs)
        self._ran = True
        arguments = by_name(bound)
        self.blocks = self.family.blocks(self.network)
        options = arguments.get("transformer_options") or {}
        splits = can_split(self.family, self.network, arguments, options)
        with ExitStack() as side_work, ExitStack() as restored:
            restored.callback(self.cache.run.storage.drop_fetched)
            runs = self._over(NetworkCall(self.family, self.network, arguments, splits, side_work))
            self._runs = {block: run for run in runs for block in range(run.segment.first, run.segment.last + 1)}
            set_options(bound, self._around_patches(self._around_replacements(options)))
            if self.cache.run.block_recorder is not None:
                self._record(arguments, restored)
            for index in self._runs:
                block = self.blocks[index]
                around = functools.partial(self._around_forward, index, block)
                replace(block.module, block.part.method, around, restored)
            result = original(*bound.args, **bound.kwargs)
        for run in runs:
            run.leave()
        return result

    def _over(self, call: NetworkCall) -> list[SegmentRun]:
        """The segments that have to be watched in this call."""
        last, samples = len(self.blocks) - 1, len(self.cache.keys)
        in_parts = isinstance(self.cache, SegmentedPass)
        tokens = ImageTokens(self.family, self.network, call.arguments, samples, whole=in_parts)
        if in_parts:
            watched = [cache for cache in self.cache.passes if cache.settle()]
            runs = [SegmentRun(call, one.segment, one, tokens, one.segment.last < last) for one in watched]
            for one, following in pairwise(runs):
                one.next = following
            for one in runs[:1]:
                one.cache.fetch()
            return runs
        whole = Segment(0, last, probe=self.cache.run.probe_depth)
        return [SegmentRun(call, whole, self.cache, tokens)]

    def _record(self, arguments: Mapping[str, Any], restored: ExitStack) -> None:
        """Let the recorder of a calibrating run see some of the image's tokens before and after every block."""
        cache, run = self.cache, self.cache.run
        tokens = ImageTokens(self.family, self.network, arguments, samples=len(cache.keys))

        def sampled(hidden: Hidden, block: Block) -> Tensor:
            read = tokens.read(hidden, block.part)
            index = run.token_index(read.shape[1], read.device)
            return read.clone() if index is None else read.index_select(1, index)

        def around(index: int, block: Block, original: Callable[..., Any]) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                call = ForwardCall(block, original, args, kwargs)
                if self.family.aside is not None and self.family.aside(call.arguments):
                    return call.run()
                before = sampled(call.hidden, block)
                result = call.run()
                run.block_recorder.see(cache.keys, cache.step, index, before, sampled(call.hidden_of(result), block))
                return result

            return forward

        for index, block in enumerate(self.blocks):
            replace(block.module, block.part.method, functools.partial(around, index, block), restored)

    def _around_forward(self, index: int, block: Block, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._replaced == index or self._runs[index].only_runs(index):
                return original(*args, **kwargs)
            return self._visit(index, ForwardCall(block, original, args, kwargs, self._runs[index].streams))

        return forward

    def _around_replacements(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with the cache around every replacement that another pack has for a block of the stack."""
        places = options.get("patches_replace", {})
        foreign = places.get("dit", {})
        ours = {
            block.key: functools.partial(self._visit_replaced, index, block, foreign[block.key])
            for index, block in enumerate(self.blocks)
            if block.key in foreign and index in self._runs
        }
        return {**options, "patches_replace": {**places, "dit": {**foreign, **ours}}} if ours else options

    def _around_patches(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The options with patches that the host calls between blocks, such as control models, idle where blocks are
        skipped.

        What one does after the last of them acts on the estimate as on a computed output, so that has to stay.
        """
        places, kind = options.get("patches", {}), self.family.parts[0].key or "double_block"
        if len(self.family.parts) > 1 or not places.get(kind):
            return options  # of several parts the host numbers each anew
        between = [functools.partial(self._between, patch) for patch in places[kind]]
        return {**options, "patches": {**places, kind: between}}

    def _between(self, patch: Callable[[Any], Any], args: dict[str, Any]) -> Any:
        run = self._runs.get(args["block_index"])
        return args if run and run.skipping and args["block_index"] != run.segment.last else patch(args)

    def _visit_replaced(self, index: int, block: Block, replacement: Callable[..., Any], args: Any, extra: Any) -> Any:
        def run(*given: Any) -> Any:
            outer, self._replaced = self._replaced, index
            try:
                return replacement(*given)
            finally:
                self._replaced = outer

        return self._visit(index, ReplacementCall(block, run, args, extra, self._runs[index].streams))

    def _visit(self, index: int, call: BlockCall) -> Any:
        if self.family.aside is not None and self.family.aside(call.arguments):
            return call.run()
        return self._runs[index].visit(index, call)
