"""A new indicator or predictor is one class and one registry line."""

import re
from pathlib import Path

import pytest
import torch
from core.toys import hidden, run_pass, session

import dicache_core
from dicache_core import Indicator, Predictor, Space


class EverySecond(Indicator):
    """Reuses every second step, whatever it sees."""

    def measure(self, seen):
        return []

    def error(self, seen, sums):
        return 0.0 if seen.step.index % 2 else 1.0


class Sevens(Predictor):
    """Forecasts sevens."""

    space = Space.RESIDUAL
    ready = True
    held = ()

    def plan(self, seen, sums):
        return 1.0

    def record(self, seen, value):
        pass

    def forecast(self, out):
        out.fill_(7.0)


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.setitem(dicache_core.INDICATORS, "every_second", EverySecond)
    monkeypatch.setitem(dicache_core.PREDICTORS, "sevens", Sevens)


def test_a_registered_policy_works():
    run = session(indicator="every_second", predictor="sevens", warmup_steps=0)
    results = [run_pass(run, i, hidden(1.0), hidden(2.0), hidden(3.0)) for i in range(6)]
    assert [r[0] for r, _ in results] == [False, True, False, True, False, True]
    assert torch.equal(results[1][1], hidden(8.0))


def test_the_example_of_the_documentation_works(monkeypatch):
    page = (Path(__file__).resolve().parents[2] / "docs" / "building.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# dicache_core/indicators/late\.py.*?)```", page, re.DOTALL)
    names = {"__package__": "dicache_core.indicators", "__name__": "dicache_core.indicators.late"}
    exec(code, names)
    monkeypatch.setitem(dicache_core.INDICATORS, "late", names["Late"])
    monkeypatch.setitem(dicache_core.PREDICTORS, "sevens", Sevens)
    run = session(indicator="late", predictor="sevens", warmup_steps=0, threshold=0.5)
    total = len(run.schedule.sigmas) - 1
    reused = [run_pass(run, i, hidden(1.0), hidden(2.0), hidden(3.0))[0][0] for i in range(total)]
    assert reused == [total / 2 <= i < total - 1 for i in range(total)]
