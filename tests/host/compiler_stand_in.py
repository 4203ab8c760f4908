"""A Comfy Compiler on a CPU: ``comfy.model_prefetch`` of ComfyUI 0.34 and later, as far as a forward can tell.

A graph records what is allocated between its begin and its end, scope by scope, and expects the same of the next pass.
A block that is handed over as ``core`` is replayed from its third call on, without a call of its ``forward``.  Weights
are streamed by a queue that is popped beside the blocks.  Nothing is compiled: the stand-in notes ``faults``, each of
which ends a real process or spoils its pictures.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

KEPT = "a tensor was made in a graph and is alive behind it"
OPEN = "a graph was begun and not ended"
OTHER = "a pass allocated otherwise than the recorded one"
WAITED = "somebody waits for the forward of a block that was replayed"
QUEUE = "streamed weights and blocks are out of step"
REPLAYED = None
Scope = tuple[str | None, list[int]]  # name, and bytes of each allocation
SWITCH = "disable_comfy_compiler"


class Graph(TorchDispatchMode):
    """One thread's graph; while it is entered it notes every new tensor of this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[Scope] | None = None
        self.active = self.paused = False
        self.begin()

    def begin(self) -> None:
        self.now: list[Scope] = [("", [])]
        self.made: list[StorageWeakRef] = []
        self.active = True
        self.__enter__()

    def leave(self) -> None:
        self.active = False
        self.__exit__(None, None, None)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if not self.paused:
            given = {storage._cdata for storage in _storages((args, kwargs))}
            new = {s._cdata: s for s in _storages(out) if s._cdata not in given}
            self.now[-1][1].extend(storage.nbytes() for storage in new.values())
            self.made += map(StorageWeakRef, new.values())
        return out

    @property
    def is_another(self) -> bool:
        """Whether this pass allocated otherwise than the recorded one, replayed blocks aside."""
        if self.recorded is None:
            return False
        pairs = zip(self.now, self.recorded, strict=False)
        return len(self.now) != len(self.recorded) or any(
            now != then for now, then in pairs if None not in (now[0], then[0])
        )

    @property
    def alive(self) -> int:
        return sum(not ref.expired() for ref in self.made)


def _storages(values: Any) -> list[Any]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class StandIn:
    """In place of the host's compiler.

    Attributes:
        faults: what went wrong, in words.
        begun, replayed: graphs that were opened and blocks that were replayed, by the calling code's will.
    """

    def __init__(self, args: Any) -> None:
        self.args = args
        self.faults: list[str] = []
        self.begun = self.replayed = 0
        self._graphs: dict[int, Graph] = {}
        self._aborted: list[Graph] = []
        self._calls: dict[nn.Module, int] = {}
        self._queues: dict[int, list[list[Any]]] = {}
        self._pinned: set[nn.Module] = set()

    # ------------------------------------------------ what a model's forward calls

    def malloc_graph_enabled(self, _device: torch.device) -> bool:
        return not getattr(self.args, SWITCH, False)

    def malloc_graph_begin(self, *where: Any) -> None:
        """With the device, or with a module before it, as in 0.34."""
        if not self.malloc_graph_enabled(where[-1]):
            return
        self.begun += 1
        graph = self._graphs.get(threading.get_ident())
        if graph is None:
            self._graphs[threading.get_ident()] = Graph()
            return
        if graph.active:
            self.faults.append(OPEN)
            self._abort(graph)
        graph.begin()

    def malloc_graph_end(self) -> None:
        if (graph := self._active()) is None:
            return
        graph.leave()
        if graph.alive:
            self.faults.append(f"{KEPT} ({graph.alive} of {len(graph.made)})")
        self.faults += [OTHER] * graph.is_another
        graph.recorded = graph.now

    @contextmanager
    def pause_malloc_graph(self, sync: bool = False) -> Iterator[None]:
        graph = self._active()
        if graph is None:
            yield
            return
        graph.paused = True
        try:
            yield
        finally:
            graph.paused = False

    def make_prefetch_queue(self, queue: Sequence[Any], _device: torch.device, _options: Any) -> list[Any]:
        made = [None, *queue, None]
        self._queues.setdefault(threading.get_ident(), []).append(made)
        return made

    def prefetch_queue_pop(
        self,
        queue: list[Any] | None,
        device: torch.device,
        module: nn.Module | None,
        dtype: torch.dtype | None = None,
        core: Callable[[], None] | None = None,
        enable_graph: bool = False,
        generator: Any = None,
        malloc_scope: str | None = None,
    ) -> None:
        graph = self._active()
        replays = core is not None and enable_graph and graph is not None and self._calls.get(module, 0) >= 2
        if graph is not None and malloc_scope is not None:
            graph.now.append((REPLAYED if replays else malloc_scope, []))
        if queue is not None:
            self._pop(queue, module)
        if core is None:
            return
        self._calls[module] = self._calls.get(module, 0) + 1
        if replays:
            self.replayed += 1
            self._replay(module, core)
        else:
            core()

    def cleanup_prefetch_queues(self) -> None:
        """What the host does behind each node, however it ended."""
        graph = self._graphs.pop(threading.get_ident(), None)
        if graph is not None and graph.active:
            self._abort(graph)
        for queue in self._queues.pop(threading.get_ident(), []):
            self._pinned.difference_update(queue)
        self._calls = {}

    # ------------------------------------------------ for tests

    @contextmanager
    def node(self) -> Iterator[None]:
        """One node of the host, sampling in this thread."""
        failed = True
        try:
            yield
            failed = False
        finally:
            if not failed:
                self.faults += [OPEN] * (self._active() is not None)
                self.faults += [QUEUE] * any(queue != [None] for queue in self._queues.get(threading.get_ident(), []))
            self.cleanup_prefetch_queues()

    def check(self) -> None:
        """Raise for all that went wrong; what an aborted graph left behind has to be gone by now."""
        gc.collect()
        self.faults += [f"{KEPT} that was aborted" for graph in self._aborted if graph.alive]
        assert not self.faults, sorted(set(self.faults))

    def _active(self) -> Graph | None:
        graph = self._graphs.get(threading.get_ident())
        return graph if graph is not None and graph.active else None

    def _abort(self, graph: Graph) -> None:
        graph.leave()
        graph.recorded = None
        left = Graph.__new__(Graph)
        left.made = graph.made
        self._aborted.append(left)

    def _pop(self, queue: list[Any], module: nn.Module | None) -> None:
        consumed = queue.pop(0)
        if consumed is not None:
            self._pinned.discard(consumed)
        if not queue or queue[0] is not module:
            self.faults.append(QUEUE)
        if module is not None:
            self.faults += [f"{QUEUE}: weights pinned twice"] * (module in self._pinned)
            self._pinned.add(module)

    def _replay(self, module: nn.Module, core: Callable[[], None]) -> None:
        """The block's own kernels and nothing that somebody put around it; their memory is the graph's already."""
        hooked = vars(module).pop("forward", None)
        self.faults += [WAITED] * (hooked is not None)
        try:
            with self.pause_malloc_graph():
                core()
        finally:
            if hooked is not None:
                vars(module)["forward"] = hooked


NAMES = (
    "malloc_graph_enabled",
    "malloc_graph_begin",
    "malloc_graph_end",
    "pause_malloc_graph",
    "make_prefetch_queue",
    "prefetch_queue_pop",
    "cleanup_prefetch_queues",
)


def install(monkeypatch: Any, args: Any, switch: bool = True) -> StandIn:
    """Put a stand-in into the host, whose command line is ``args``: a version with the compiler, on as by default."""
    stand_in = StandIn(args)
    module = sys.modules.get("comfy.model_prefetch")
    if module is None:
        module = ModuleType("comfy.model_prefetch")
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in NAMES:
        monkeypatch.setattr(module, name, getattr(stand_in, name), raising=False)
    if switch:
        monkeypatch.setattr(args, SWITCH, False, raising=False)
    else:
        monkeypatch.delattr(args, SWITCH, raising=False)
    return stand_in
