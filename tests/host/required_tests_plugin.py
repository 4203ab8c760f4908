"""Which kinds of tests ran, and which did not: a run without them must not look like one with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest


@dataclass
class Kind:
    """One kind of tests, counted over all processes of a run.

    Attributes:
        name: as in "12 tests of the front end".
        belongs: whether an item is one of them.
        option: the option that makes a run fail in which none of them passed, if there is one.
        how: what to do so that they run.
        reason: how the reason begins for which they are skipped where they cannot run.
    """

    name: str
    belongs: Callable[[pytest.Item], bool]
    how: str
    option: str | None = None
    reason: str | None = None
    passed: int = field(default=0, init=False)
    skipped: int = field(default=0, init=False)

    @property
    def mark(self) -> tuple[str, bool]:
        """Travels with a test's report, also from another process."""
        return (self.name, True)

    def count(self, report: pytest.TestReport) -> None:
        if self.mark in map(tuple, report.user_properties):
            self.passed += report.when == "call" and report.passed
            self.skipped += report.skipped and self.reason is not None and self.reason in str(report.longrepr)

    def missed(self, config: pytest.Config) -> bool:
        """Whether the run was to fail without them, and is without them."""
        if config.getoption("collectonly"):
            return False
        return bool(self.option and config.getoption(self.option) and not self.passed)


class Kinds:
    """Plugin: says what ran behind the tests, and in the very last line what did not and how to get it."""

    def __init__(self, kinds: list[Kind]) -> None:
        self.kinds = kinds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            item.user_properties += [kind.mark for kind in self.kinds if kind.belongs(item)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for kind in self.kinds:
            kind.count(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        worker = hasattr(session.config, "workerinput")
        if not worker and any(kind.missed(session.config) for kind in self.kinds):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter) -> None:
        for kind in self.kinds:
            if kind.option:
                terminalreporter.write_line(f"tests {kind.name}: {kind.passed} passed")

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None or hasattr(config, "workerinput"):
            return
        told = [
            f"{kind.skipped or 'all'} of the tests {kind.name} ({kind.how})"
            for kind in self.kinds
            if kind.skipped or kind.missed(config)
        ]
        if told:
            terminal.write_line(f"NOT RUN: {'; '.join(told)}", yellow=True)
