"""docs/engine.md: all that a method is offered stands there, and nothing else."""

import re
from dataclasses import fields
from pathlib import Path

from dicache_core import CacheSession, ForwardPass
from dicache_core.methods.base import (
    AuditedPredictor,
    Indicator,
    MeasuredIndicator,
    PacedIndicator,
    PlannedIndicator,
    Predictor,
)
from dicache_core.observation import Observation

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "engine.md").read_text(encoding="utf-8")


def offered(*kinds: type) -> set[str]:
    return {
        name for kind in kinds for name in {**vars(kind), **vars(kind).get("__annotations__", {})} if name[0] != "_"
    }


def named(section: str) -> set[str]:
    """Names in the first column of the table under a heading."""
    rows = PAGE.split(f"`{section}`\n", 1)[1].split("\n## ", 1)[0].splitlines()
    cells = [row.split("|")[1] for row in rows if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def test_every_member_of_a_rule_is_explained_and_no_other():
    assert named("Indicator") == offered(Indicator, MeasuredIndicator, PlannedIndicator, PacedIndicator)
    assert named("Predictor") == offered(Predictor, AuditedPredictor)


def test_every_call_between_model_and_cache_is_there():
    section = PAGE.split("## Model and cache\n", 1)[1].split("\n## ", 1)[0]
    calls = re.findall(r"`(?:(session)\.)?(\w+)\(", "\n".join(re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)))
    assert {("session", "forward"), ("", "enter"), ("", "forecast")} <= set(calls)
    for owner, name in calls:
        assert callable(getattr(CacheSession if owner else ForwardPass, name)), name


def test_everything_that_a_rule_sees_is_named():
    for field in fields(Observation):
        assert f"`{field.name}`" in PAGE, field.name
