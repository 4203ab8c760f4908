"""The table of tiers names what there is, and the runs of CI make one whole."""

import re
from pathlib import Path
from types import SimpleNamespace

import tiers
from tiers import ALL, FAST, GRIDS, LINT, ROWS, TEST, TESTS, TIERS, Tiers, tier_of


def test_every_row_names_something_that_is_there():
    for row in (*ROWS, *tiers.LONGEST):
        path, _, test = row.partition("[")[0].partition("::")
        assert (TESTS / path).exists(), row
        assert not test or f"def {test}(" in (TESTS / path).read_text(encoding="utf-8"), row


def test_every_value_of_a_grid_is_there():
    text = "\n".join(file.read_text(encoding="utf-8") for file in TESTS.rglob("*.py") if file != Path(tiers.__file__))
    parts = {part for values in GRIDS.values() for value in values for part in value.split("-")}
    assert not {part for part in parts if not re.search(rf"\b{re.escape(part)}\b", text)}


def chosen(**options) -> tuple[str, ...]:
    given = {"--tier": ALL, "--above": None} | {f"--{name}": value for name, value in options.items()}
    return Tiers(SimpleNamespace(getoption=given.get)).wanted


def test_what_ci_runs_is_everything_once():
    assert (*chosen(tier=LINT), *chosen(tier=TEST, above=LINT), *chosen(above=TEST)) == TIERS
    assert chosen(tier=FAST) == (LINT, FAST)


def item(file: str, test: str, *fixtures: str, **parameters) -> SimpleNamespace:
    callspec = {"callspec": SimpleNamespace(params=parameters)} if parameters else {}
    return SimpleNamespace(path=TESTS / file, name=test, fixturenames=fixtures, **callspec)


def test_a_new_test_needs_no_row(monkeypatch):
    monkeypatch.setattr(tiers, "GRIDS", {"model": {"flux": TEST}})
    assert tier_of(item("core/test_new.py", "test_it")) == FAST
    assert tier_of(item("core/test_new.py", "test_it", model="wan")) == FAST, "a word, and no model in a ComfyUI"
    assert tier_of(item("host/test_new.py", "test_it", "host")) == TEST
    assert tier_of(item("host/test_new.py", "test_it", "host", model="flux", other="wan")) == TEST
    assert tier_of(item("host/test_new.py", "test_it", "host", model="wan")) == ALL


def test_the_most_particular_row_counts(monkeypatch):
    monkeypatch.setattr(
        tiers, "ROWS", {"host": TEST, "host/a.py": ALL, "host/a.py::test_smoke": TEST, "host/a.py::test_long[2]": TEST}
    )
    assert tier_of(item("host/a.py", "test_long[1]")) == ALL
    assert tier_of(item("host/a.py", "test_long[2]")) == TEST
    assert tier_of(item("host/a.py", "test_smoke")) == TEST
    config = SimpleNamespace(getoption={"--tier": TEST, "--above": None}.get)
    assert Tiers(config).pytest_ignore_collect(TESTS / "host/a.py") is None, "one of its tests is wanted"
    monkeypatch.setattr(tiers, "ROWS", {"host": TEST, "host/a.py": ALL})
    assert Tiers(config).pytest_ignore_collect(TESTS / "host/a.py") is True
