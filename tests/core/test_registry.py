"""A new indicator or predictor is one class and one registry line."""

import pytest
import torch
from core.toys import hidden, run_pass, session

import dicache_core
from dicache_core.methods.base import PlannedIndicator, Stage
from dicache_core.methods.predictors import Predictor, Space


class EverySecond(PlannedIndicator):
    """Reuses every second step."""

    stage = Stage.PROBE  # so that the toy's probe decides

    def planned_error(self, obs):
        return 0.0 if obs.step.step_index % 2 else 1.0


class Sevens(Predictor):
    """Forecasts sevens."""

    space = Space.RESIDUAL
    ready = False
    held = ()

    def plan(self, obs, sums):
        return 1.0

    def record(self, obs, value):
        self.ready = True

    def forecast(self, out):
        out.fill_(7.0)


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.setitem(dicache_core.methods.indicators.INDICATORS, "every_second", EverySecond)
    monkeypatch.setitem(dicache_core.methods.predictors.PREDICTORS, "sevens", Sevens)


def test_a_registered_policy_works():
    run = session(indicator="every_second", predictor="sevens", warmup_steps=0)
    results = [run_pass(run, i, hidden(1.0), hidden(2.0), hidden(3.0)) for i in range(6)]
    assert [r[0] for r, _ in results] == [False, True, False, True, False, True]
    assert torch.equal(results[1][1], hidden(8.0))
