"""What one node keeps of the runs it took part in."""

from __future__ import annotations

from .run_statistics import RunStatistics

MOST_RUNS = 100


class RunLog:
    """The runs that sampled through one DiCache node while one prompt lasts, the latest ``MOST_RUNS`` of them.

    A host keeps a node's output from prompt to prompt, so the log starts again when a run of another prompt begins;
    otherwise it would grow for as long as the host runs.  In a script, where there are no prompts, and in a prompt that
    samples in a loop, it is the number that bounds it.

    Attributes:
        runs: earliest first.
        overridden: whether another node has sampled in this one's place since the last run.
    """

    def __init__(self) -> None:
        self.runs: list[RunStatistics] = []
        self.overridden = False

    def append(self, run: RunStatistics) -> None:
        """Enter a run that begins now."""
        self.overridden = False
        same = [earlier for earlier in self.runs if earlier.prompt == run.prompt]
        self.runs = [*same, run][-MOST_RUNS:]

    def give_way(self) -> None:
        """Another node samples in this one's place: there is no run."""
        self.runs, self.overridden = [], True

    def take(self) -> list[RunStatistics]:
        """The runs, which are no longer kept here."""
        taken, self.runs = self.runs, []
        return taken
