"""One segment of a stack during one call of its network: the blocks that are skipped together, or run together."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..dicache_core import ForwardPass
from ..dicache_core.segments import Segment
from .block_call import BlockCall
from .family import Arguments, Family
from .image_tokens import ImageTokens
from .method_patching import end_of_cache, replace
from .subbatch import SubBatch


@dataclass
class NetworkCall:
    """One call of a network, ``arguments`` by name.

    Attributes:
        can_split: whether nothing but the blocks sees the batch while they run.
        side_work: puts back what is set aside, when the call is over.
        ended: whether the cache cannot follow this call.
    """

    family: Family
    network: nn.Module
    arguments: Arguments
    can_split: bool
    side_work: ExitStack
    ended: bool = False


class SegmentRun:
    """The blocks of ``segment`` during one call, under ``cache``; the whole stack is one segment.

    ``streams`` is whether all that the last one hands on is kept, as later blocks read the text, too.
    """

    def __init__(
        self, call: NetworkCall, segment: Segment, cache: ForwardPass, tokens: ImageTokens, streams: bool = False
    ) -> None:
        self.call = call
        self.family = call.family
        self.segment = segment
        self.cache = cache
        self.tokens = tokens
        self.streams = streams
        self.behind_probe = segment.first + segment.probe
        self.entered = False
        self.decided = False
        self.skipping = False  # from the decision on: every sample is reused
        self.split: SubBatch | None = None
        self.next: SegmentRun | None = None  # what it is rebuilt from is fetched while this one's blocks run

    def only_runs(self, index: int) -> bool:
        """Whether nothing is to be done about a block, as about most of a pass in which all samples are computed."""
        within = self.segment.first < index < self.segment.last and index >= self.behind_probe
        return within and self.decided and not self.skipping and self.split is None

    def visit(self, index: int, block: BlockCall) -> Any:
        """Block ``index`` is called: its result, or what stands in for it."""
        last = index == self.segment.last
        if index == self.segment.first and not self.call.ended:
            self._enter(block)
        if self.call.ended or not self.entered:
            return block.run()
        if index < self.behind_probe:
            result = block.run()
            if index == self.behind_probe - 1:
                hidden = block.hidden_of(result)
                self.cache.probe(self.tokens.read(hidden, block.part), self._measured(hidden, block))
                self._decide(block)
            return result
        if not self.decided or index < self.family.opening:
            return block.run()  # not decided: another pack's forward, which left out a block of the probe
        if self.skipping:
            return block.handed_through(self._estimated(block) if last else block.hidden)
        result = self._rest(block, last)
        return self._completed(block, result) if last else result

    def leave(self) -> None:
        """The call is over: a segment that was decided beforehand may never have come."""
        if self.cache.decisions and not self.entered:
            self.cache.miss()

    def _enter(self, block: BlockCall) -> None:
        if self.entered:
            self._end()
            return
        self.entered = True
        if self.next is not None:
            self.next.cache.fetch()
        modulated, indicator = None, self.cache.run.indicator
        if indicator.wants_modulated:
            modulated = self.tokens.read(self.family.modulated(self.call.network, block.arguments), block.part)
            if indicator.wants_grid:
                modulated = modulated.unflatten(1, self.family.grid(self.call.network, self.call.arguments["x"].shape))
        measured = self._measured(block.hidden, block)
        self.cache.enter(self.tokens.read(block.hidden, block.part), modulated, measured=measured)
        if self.segment.probe == 0:
            if not self.cache.decisions:
                self.cache.decide()
            self._decide(block)

    def _measured(self, hidden: Any, block: BlockCall) -> Any:
        """Of several streams rules look at the first one alone."""
        return self.tokens.read(hidden[0], block.part) if self.streams and isinstance(hidden, tuple) else None

    def _end(self) -> None:
        self.call.ended, self.skipping, self.split = True, False, None
        end_of_cache(self.cache, self.family)

    def _decide(self, block: BlockCall) -> None:
        """Where samples disagree, the rest of the segment gets fewer of them; work beside a stack stops with it."""
        self.decided = True
        needed = self.family.must_run is not None and self.family.must_run(block.arguments)
        self.skipping = self.cache.all_reused and not needed
        if not self.skipping:
            if self.call.can_split and any(self.cache.reuse) and not needed:
                self.split = SubBatch(self.cache.reuse, self.family.batched)
            return
        if self.family.side_work is not None and self.cache.segment is None:
            for work in self.family.side_work(self.call.network, self.segment.last, block.arguments):
                replace(work.owner, work.attribute, lambda _own, idle=work.idle: idle, self.call.side_work)

    def _rest(self, block: BlockCall, last: bool) -> Any:
        """A block after the probe, for the samples that are computed."""
        if self.split is not None and not self.split.started and not self.split.fits(block.arguments):
            self.split = None  # an argument whose rows nobody knows: the whole batch, as if all were computed
        if self.split is None:
            return block.run()
        result = block.run(self.split.narrow(block.arguments, block.part.hidden))
        return self.split.widen(result) if last else result

    def _completed(self, block: BlockCall, result: Any) -> Any:
        hidden = block.hidden_of(result)
        tokens = self.tokens.read(hidden, block.part)
        self.cache.complete(tokens)
        if not any(self.cache.reuse):
            return result
        return block.with_hidden(result, self.tokens.write(hidden, block.part, tokens))

    def _estimated(self, block: BlockCall) -> Any:
        """The last block's hidden state with its tokens rebuilt, in memory of its own."""
        several = isinstance(block.hidden, tuple)  # put together by ``read``, in memory of its own
        hidden = block.hidden if several else self.tokens.copy(block.hidden)
        tokens = self.tokens.read(hidden, block.part)
        self.cache.rebuild(tokens)
        return self.tokens.write(hidden, block.part, tokens)
