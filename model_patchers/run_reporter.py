"""Tells of a run while it goes on: a JSON event per step for the live view, and lines in the log."""

from __future__ import annotations

import logging
import time

from comfy_execution.utils import get_executing_context

from ..dicache_core import COMPILER, Reason, RunStatistics, run_json
from ..dicache_core.effective_settings import leaves_little
from ..dicache_core.engine.decision import UNDECIDED
from ..dicache_core.explain import done_text, nothing_text
from .server_events import ServerEvents

SHORTEST_INTERVAL = 0.1  # seconds between two events of a run; nobody reads faster

log = logging.getLogger("dicache")


class RunReporter:
    """Reports one run. Sends nothing without a node to report to, or when no client listens."""

    def __init__(self, statistics: RunStatistics, node_id: str | None) -> None:
        self.statistics = statistics
        self.node_id = node_id
        self.view = ServerEvents()
        self._told: set[str] = set()
        self._sent_at = 0.0
        self._sent_step = 0

    def begin(self) -> None:
        steps, total = self.statistics.schedule.steps, self.statistics.schedule.total
        if leaves_little(self.statistics.config, total):
            few = f"{total} step{'s' * (total != 1)}"
            log.info("DiCache: runs of %s leave little to skip.", few)
        if self.statistics.config.warmup_of(total) >= steps + self.statistics.schedule.steps_before:
            log.info("DiCache: the warm-up covers all %d steps, so every step is computed.", steps)
        if tuned_match := self.statistics.tuned_match:
            log.info("DiCache: %s.", tuned_match.text)
        if compiler := self.statistics.compiler:
            log.info("DiCache: %s.", COMPILER[compiler])

    def step(self) -> None:
        """After a forward pass: an event for the step, unless one was sent a moment ago."""
        self._warn()
        latest = self.statistics.evaluations
        if latest == self._sent_step or time.monotonic() - self._sent_at < SHORTEST_INTERVAL:
            return
        self._sent_step, self._sent_at = latest, time.monotonic()
        self._send()

    def _warn(self) -> None:
        decisions = self.statistics.passes[-1].decisions
        if UNDECIDED in decisions:
            self._warn_once(
                "DiCache: another node bypassed DiCache, at step %d first. It runs the model in its own way. "
                "Such steps count as computed. Remove that node or DiCache Apply."
            )
        if any(decision.reason is Reason.IMAGE_CHANGED for decision in decisions):
            self._warn_once(
                "DiCache: the image moves between steps, at step %d first. Another node shifts it or its tiles. "
                "Such steps are computed."
            )

    def _warn_once(self, text: str) -> None:
        """``text`` has a place for the number of the evaluation."""
        if text not in self._told:
            self._told.add(text)
            log.warning(text, self.statistics.evaluations)

    def end(self) -> None:
        s = self.statistics
        speedup = f", {s.speedup:.2f}x the speed" if s.speedup else ""
        unit = "steps" if s.by_steps else "model evaluations"
        why = f" {nothing}" if (nothing := nothing_text(s)) else ""
        log.info("DiCache: %s%s (%s).%s", done_text(s, unit), speedup, s.cells, why)
        if s.vetoed:
            log.info("DiCache: planned skips cancelled (prediction too far off): %d.", s.vetoed)
        self._send()
        if self.node_id is not None:
            self.view.note(self.node_id, s)

    def _send(self) -> None:
        """The whole state of the run so far: the client keeps no history of its own."""
        if self.node_id is not None:
            self.view.send(self.node_id, lambda: run_json(self.statistics))


def current_prompt() -> str | None:
    """The prompt that the host is working on; ``None`` in scripts."""
    context = get_executing_context()
    return None if context is None else context.prompt_id
