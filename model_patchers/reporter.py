"""Tells of a run while it goes on: a JSON event per step for the live view, and lines in the log."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import Any

from comfy_execution.utils import get_executing_context

from ..dicache_core import RECALLED, UNDECIDED, RunStatistics, finite, in_force, leaves_little, method_of, why_nothing
from .view import View

SHORTEST_INTERVAL = 0.1  # seconds between two events of a run; nobody reads faster

log = logging.getLogger("dicache")


class Reporter:
    """Reports one run. Sends nothing without a node to report to, or when no client listens."""

    def __init__(self, statistics: RunStatistics, node_id: str | None, run: int) -> None:
        self.statistics = statistics
        self.node_id = node_id
        self.run = run
        self.view = View()
        self._warned = False
        self._sent_at = 0.0
        self._sent_step = -1

    def begin(self) -> None:
        steps, total = self.statistics.schedule.steps, self.statistics.schedule.total
        if leaves_little(self.statistics.config, total):
            log.info("DiCache: %d steps leave caching little to give; few-step models are best run without it.", total)
        if self.statistics.config.warmup_of(total) >= steps + self.statistics.schedule.steps_before:
            log.info("DiCache: the warm-up covers all %d steps, so every step is computed.", steps)
        if recall := self.statistics.recall:
            log.info("DiCache: %s.", RECALLED[recall.found].format(wish=recall.wish, steps=recall.steps))

    def step(self) -> None:
        """After a forward pass: an event for the step, unless one was sent a moment ago."""
        self._warn_of_undecided()
        latest = self.statistics.passes[-1].step.index
        if latest == self._sent_step or time.monotonic() - self._sent_at < SHORTEST_INTERVAL:
            return
        self._sent_step, self._sent_at = latest, time.monotonic()
        self._send(finished=False)

    def _warn_of_undecided(self) -> None:
        if not self._warned and UNDECIDED in self.statistics.passes[-1].decisions:
            self._warned = True
            log.warning(
                "DiCache: the model's forward visits no block that DiCache put its cache around, at step %d first. "
                "Such steps count as computed. Another node's forward or cache does it: remove it, or DiCache Apply.",
                self.statistics.passes[-1].step.index + 1,
            )

    def end(self) -> None:
        s = self.statistics
        speedup = f", {s.speedup:.2f}x the speed" if s.speedup else ""
        log.info("DiCache: %d of %d steps skipped%s (%s).", s.reused, s.schedule.steps, speedup, s.cells)
        if s.vetoed:
            log.info(
                "DiCache: at %d steps that were to be skipped forecasts were off, so they were computed.", s.vetoed
            )
        self._send(finished=True)
        if self.node_id is not None:
            self.view.note(self.node_id, s)

    def _send(self, finished: bool) -> None:
        if self.node_id is not None:
            self.view.send(self.node_id, lambda: self.event(finished))

    def event(self, finished: bool) -> dict[str, Any]:
        """The whole state of the run so far: the client keeps no history of its own."""
        s = self.statistics
        history: list[float | None] = [None] * s.schedule.steps
        for passed in s.passes:
            known = [d.accumulated for d in passed.decisions if d.accumulated is not None]
            if known:
                history[passed.step.index] = finite(max(known))
        last = s.passes[-1] if s.passes else None
        errors = [d.error for d in last.decisions if d.error is not None] if last else []
        nothing = why_nothing(s) if finished else None
        return {
            "run": self.run,
            "step": last.step.index + 1 if last else 0,
            "steps": s.schedule.steps,
            "cells": s.cells,
            **in_force(s.config),
            "error": finite(max(errors)) if errors else None,
            "accumulated": history[last.step.index] if last else None,
            "history": history,
            "computed": s.computed,
            "reused": s.reused,
            "speedup": s.speedup,
            "policy": method_of(s.config),
            "warmup_steps": s.config.warmup_of(s.schedule.total),
            "tuned": s.recall and asdict(s.recall),
            "closeness": s.closeness,
            "vetoed": s.vetoed,
            "nothing": nothing and asdict(nothing),
            "finished": finished,
        }


def current_prompt() -> str | None:
    """The prompt that the host is working on; ``None`` in scripts."""
    context = get_executing_context()
    return None if context is None else context.prompt_id
