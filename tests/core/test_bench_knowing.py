"""The bound of bench/oracle.py that is told the full run's outputs."""

import sys
from pathlib import Path

import pytest
import torch
from core.toys import schedule

import dicache_core
from dicache_core import CacheConfig, Observation

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
import knowing

TEN = schedule(10)


@pytest.fixture
def predictor(monkeypatch):
    monkeypatch.setattr(dicache_core.predictors, "PREDICTORS", dict(dicache_core.PREDICTORS))
    monkeypatch.setattr(dicache_core, "PREDICTORS", dicache_core.predictors.PREDICTORS)
    return knowing.register(dicache_core)


def computed(cache, call, value):
    """What the sampler gets for a computed call."""
    seen, out = Observation(TEN.step_at(TEN.sigmas[call])), torch.full((2, 2), float(value))
    cache.record(seen, out.clone())
    cache.correct(out)
    return out[0, 0].item()


def test_outputs_of_a_run_that_is_off_are_the_full_runs_of_the_same_sample(predictor):
    predictor.learning = True
    for start in (1, 5):  # two samples
        full = predictor(CacheConfig(threshold=1.0))
        assert [computed(full, call, start + call) for call in range(4)] == [start + call for call in range(4)]
    predictor.learning = False
    ours = predictor(CacheConfig(threshold=1.0))
    assert [computed(ours, call, 5 + call + (call > 1)) for call in range(4)] == [5, 6, 7, 8]
    assert [anchor.value[0, 0].item() for anchor in ours.anchors] == [7, 8]


def test_what_skipped_calls_left_off_is_made_good_and_nothing_is_put_right(predictor):
    line = dicache_core.PREDICTORS["corrected_line"](CacheConfig(threshold=1.0))
    predictor.learning = True
    full = predictor(CacheConfig(threshold=1.0))
    for call, value in enumerate((1.0, 2.0, 4.0, 7.0)):
        computed(full, call, value)
    predictor.learning = False
    ours = predictor(CacheConfig(threshold=1.0))
    for cache in (line, ours):
        assert [computed(cache, call, value) for call, value in ((0, 1.0), (1, 2.0))] == [1, 2]
        cache.plan(Observation(TEN.step_at(TEN.sigmas[2])), [])
        cache.forecast(torch.empty(2, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dicache_core.predictors.corrected, "_missed", lambda _step: 0.0)
        expected = computed(line, 3, 7.0)
    assert computed(ours, 3, 6.5) == pytest.approx(expected)
