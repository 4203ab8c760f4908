"""The host's Comfy Compiler, which has to be off while a cache looks at a model's blocks.

From ComfyUI 0.34 on the forwards of some models (MiniMax H3, Qwen-Image 2.1) run inside a graph.  The graph records
what they allocate and replays it, and whole blocks may be replayed without a call of their ``forward``.  A tensor that
is made in a graph and kept ends the process when it is freed.  A pass that skips blocks does not fit the recorded one.
The graph is open before a wrapper inside the model is called, so the compiler is switched off from outside, for a whole
run: its switch is read each time a graph is about to open.  Methods that forecast the model's output stay outside the
graph and leave it alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from comfy.cli_args import args

from ..dicache_core import CacheConfig, needs_stack
from ..dicache_core.presets import forecast_instead

SWITCH = "disable_comfy_compiler"


class _Switch:
    """The host's switch, for as many runs at once as want the compiler off: the last one puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before = False
        self._told = False  # whether the compiler was on when the first of them came

    def is_on(self, device: torch.device) -> bool:
        """Whether forwards on ``device`` run inside a graph, or would if no run of ours held the compiler off."""
        with self._lock:
            return self._told if self._holders else _enabled(device)

    @contextmanager
    def off(self, device: torch.device) -> Iterator[None]:
        """The compiler is off for the length of the block; nothing happens where there is no switch."""
        if not hasattr(args, SWITCH):
            yield
            return
        with self._lock:
            if not self._holders:
                self._before, self._told = getattr(args, SWITCH), _enabled(device)
                setattr(args, SWITCH, True)
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    setattr(args, SWITCH, self._before)


_switch = _Switch()
compiler_off = _switch.off


def beside_compiler(config: CacheConfig, device: torch.device) -> tuple[CacheConfig, str | None]:
    """The settings of a run on ``device``, and what became of the compiler: see ``dicache_core.COMPILER``.

    Where the compiler cannot be switched off, a method that looks at blocks gives way to the forecast method.
    """
    if not needs_stack(config) or not _switch.is_on(device):
        return config, None
    return (config, "off") if hasattr(args, SWITCH) else (forecast_instead(config), "forecast")


def close_what_failed() -> None:
    """After a forward that failed and before the next one: close its graph and its queue of streamed weights.

    The host does the same, but only when the node ends.
    """
    cleanup = getattr(_prefetch(), "cleanup_prefetch_queues", None)
    if cleanup is not None:
        cleanup()


def _enabled(device: torch.device) -> bool:
    prefetch = _prefetch()
    if not hasattr(prefetch, "malloc_graph_begin"):
        return False
    enabled = getattr(prefetch, "malloc_graph_enabled", None)
    return enabled is None or bool(enabled(device))


def _prefetch() -> ModuleType | None:
    """The host's module; ``None`` in versions without one."""
    return sys.modules.get("comfy.model_prefetch")
