"""What one node keeps of the runs it took part in."""

from __future__ import annotations

from .statistics import RunStatistics


class RunLog:
    """The runs that sampled through one DiCache node, for as long as one prompt lasts.

    A host keeps a node's output from prompt to prompt, so the log starts again when a run of another prompt begins;
    otherwise it would grow for as long as the host runs.
    """

    def __init__(self) -> None:
        self.runs: list[RunStatistics] = []

    def append(self, run: RunStatistics) -> None:
        """Enter a run that begins now."""
        self.runs = [earlier for earlier in self.runs if earlier.prompt == run.prompt] + [run]
