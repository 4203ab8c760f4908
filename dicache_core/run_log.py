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
        self.prompt: str | None = None

    def begin(self, run: RunStatistics, prompt: str | None) -> None:
        """Enter a run that begins now; ``prompt`` is the host's name for what it is working on."""
        if prompt != self.prompt:
            self.runs = []
        self.prompt = prompt
        self.runs.append(run)
