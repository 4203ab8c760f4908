"""Tells the client whose prompt runs what the cache does: a JSON event per step, and a line in the log at the end."""

from __future__ import annotations

import logging
import time
from typing import Any

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context

from ..dicache_core import FEW_STEPS, RunStatistics
from .metadata import enter_run

EVENT = "dicache.step"
SHORTEST_INTERVAL = 0.1  # seconds between two events of a run; nobody reads faster

log = logging.getLogger("dicache")


class Reporter:
    """Reports one run. Sends nothing without a node to report to, or when no client listens."""

    def __init__(self, statistics: RunStatistics, node_id: str | None, run: int) -> None:
        self.statistics = statistics
        self.node_id = node_id
        self.run = run
        self._sent_at = 0.0
        self._sent_step = -1

    def begin(self) -> None:
        steps, total = self.statistics.schedule.steps, self.statistics.schedule.total
        if total <= FEW_STEPS:
            log.info("DiCache: %d steps leave caching little to give; few-step models are best run without it.", total)
        if self.statistics.config.warmup_of(total) >= steps + self.statistics.schedule.steps_before:
            log.info("DiCache: the warm-up covers all %d steps, so every step is computed.", steps)

    def step(self) -> None:
        """After a forward pass: an event for the step, unless one was sent a moment ago."""
        latest = self.statistics.passes[-1].step.index
        if latest == self._sent_step or time.monotonic() - self._sent_at < SHORTEST_INTERVAL:
            return
        self._sent_step, self._sent_at = latest, time.monotonic()
        self._send(finished=False)

    def end(self) -> None:
        s = self.statistics
        speedup = f", {s.speedup:.2f}x the speed" if s.speedup else ""
        log.info("DiCache: %d of %d steps reused%s (%s).", s.reused, s.schedule.steps, speedup, s.cells)
        self._send(finished=True)
        if self.node_id is not None and (server := _server()):
            enter_run(s, shown_node(self.node_id), server.prompt_queue.get_current_queue_volatile()[0])

    def _send(self, finished: bool) -> None:
        if self.node_id is None:
            return
        if server := _listening_server():
            event = {**self.event(finished), "workflow": _running_workflow(server)}
            server.send_sync(EVENT, event, server.client_id)

    def event(self, finished: bool) -> dict[str, Any]:
        """The whole state of the run so far: the client keeps no history of its own."""
        s = self.statistics
        history: list[float | None] = [None] * s.schedule.steps
        for passed in s.passes:
            known = [d.accumulated for d in passed.decisions if d.accumulated is not None]
            if known:
                history[passed.step.index] = _finite(max(known))
        last = s.passes[-1] if s.passes else None
        errors = [d.error for d in last.decisions if d.error is not None] if last else []
        return {
            "node": shown_node(self.node_id),
            "run": self.run,
            "step": last.step.index + 1 if last else 0,
            "steps": s.schedule.steps,
            "cells": s.cells,
            "threshold": None if s.config.target else s.config.threshold,  # a steered one is another at every step
            "error": _finite(max(errors)) if errors else None,
            "accumulated": history[last.step.index] if last else None,
            "history": history,
            "computed": s.computed,
            "reused": s.reused,
            "speedup": s.speedup,
            "policy": f"{s.config.indicator} + {s.config.predictor}",
            "probe_depth": s.config.probe_depth,
            "warmup_steps": s.config.warmup_of(s.schedule.total),
            "finished": finished,
        }


def _finite(x: float) -> float | None:
    """JSON knows no infinity."""
    return x if abs(x) < float("inf") else None


def current_prompt() -> str | None:
    """The prompt that the host is working on; ``None`` in scripts."""
    context = get_executing_context()
    return None if context is None else context.prompt_id


def shown_node(node_id: str) -> str:
    """The node in the user's graph that a node made while the prompt runs (a loop's body, say) stands for."""
    return get_progress_state().dynprompt.get_display_node_id(node_id)


def _running_workflow(server: Any) -> str | None:
    """Id of the workflow whose prompt runs, where the client sent one: the user may be looking at another tab."""
    running, _queued = server.prompt_queue.get_current_queue_volatile()
    if not running:
        return None
    _number, _prompt_id, _prompt, extra_data, *_rest = running[0]
    workflow = (extra_data.get("extra_pnginfo") or {}).get(
        "workflow"
    ) or {}  # API clients leave out either, or send null
    return workflow.get("id")


def _listening_server() -> Any | None:
    """ComfyUI's server while a client listens to the prompt that runs; ``None`` in scripts and headless API runs."""
    server = _server()
    return server if server is not None and server.client_id in server.sockets else None


def _server() -> Any | None:
    """ComfyUI's server; ``None`` in scripts."""
    from server import PromptServer

    return getattr(PromptServer, "instance", None)
