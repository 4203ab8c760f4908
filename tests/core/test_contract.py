"""docs/engine.md: all that a method is offered stands there, nothing else, and it stays one page."""

import re
from dataclasses import fields
from pathlib import Path

from dicache_core import Observation
from dicache_core.indicator import Indicator
from dicache_core.predictor import Predictor

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")
ONE_PAGE = 75  # lines


def offered(kind: type) -> set[str]:
    return {name for name in {**vars(kind), **kind.__annotations__} if not name.startswith("_")}


def named(section: str) -> set[str]:
    """Names in the first column of the table under a heading."""
    rows = PAGE.split(f"`{section}`\n", 1)[1].split("\n## ", 1)[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def test_every_member_of_a_rule_is_explained_and_no_other():
    assert named("Indicator") == offered(Indicator)
    assert named("Predictor") == offered(Predictor)


def test_everything_that_a_rule_sees_is_named():
    for field in fields(Observation):
        assert f"`{field.name}`" in PAGE, field.name


def test_it_is_one_page():
    assert len(PAGE.splitlines()) <= ONE_PAGE
