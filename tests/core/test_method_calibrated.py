"""Calibrated methods on numbers worked out by hand: what is recorded, the file, and the plans made of it."""

import json
import math
from itertools import pairwise

import pytest
import torch
from core.methods import TEN, errors, forecast, rebuilt, recorded, seen
from core.toys import hidden, schedule

from dicache_core import CacheConfig, CacheSession, Calibration, SampleKey
from dicache_core.calibration import LARGEST_FILE, VERSION, calibration_of, recording_config
from dicache_core.methods.calibrated import Errors, cheapest
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.recorder import GAPS, Recorder
from dicache_core.policies import POLICIES
from dicache_core.schedule import Schedule
from dicache_core.timing import Stopwatch


def run_of(residuals, latents=None):
    """A calibrating run of toys with these residuals and inputs, one per step."""
    run = CacheSession(recording_config(), schedule(len(residuals)))
    for step, stack in enumerate(residuals):
        latent = hidden(0.0 if latents is None else latents[step])
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[step]), latent)
        cache.enter(hidden(0.0))
        assert cache.decide() == (False,)
        cache.complete(hidden(stack))
        run.close(cache, Stopwatch(torch.device("cpu")))
    return run


def test_errors_of_residuals_are_recorded():
    # residuals 10, 8, 4, 4, 2 at steps 0 to 4; the last two steps are not measured
    curve = calibration_of(run_of([10.0, 8.0, 4.0, 4.0, 2.0]).statistics)
    assert curve.ratios == pytest.approx((0.0, 0.8, 0.5, 0.0, 0.0))
    # |8-10|/8; |4-8|/4 and |4-10|/4
    assert [row[:3] for row in curve.residual] == [(0, 0, 0), (0.25, 0, 0), (1.0, 1.5, 0), (0, 0, 0), (0, 0, 0)]
    assert all(len(row) == GAPS for row in curve.residual)


def test_errors_of_velocities_are_recorded():
    # inputs 0, 1, 3, 7 at sigmas 1, 0.8, 0.6, 0.4: velocities -5, -10, -20; |-10+5|/10; |-20+10|/20, |-20+5|/20
    curve = calibration_of(run_of([1.0] * 5, [0.0, 1.0, 3.0, 7.0, 7.0]).statistics)
    assert [row[:3] for row in curve.velocity[:4]] == [(0, 0, 0), (0.5, 0, 0), (0.5, 0.75, 0), (0, 0, 0)]


def test_recording_keeps_what_it_says():
    recorder = Recorder(CacheConfig(threshold=1.0))
    for step in range(9):
        observation = seen(step, latent=step)
        recorder.measure(observation)
        recorder.follow(observation)
        recorder.learn(observation, hidden(1.0 + step)[0])
    assert len(recorder.residuals) == recorder.probes == GAPS + 1


def test_the_file_is_versioned_and_stays_small():
    for steps in (5, 50, 400, 1000):
        rows = tuple((0.0001234,) * GAPS for _ in range(steps))
        curve = Calibration("hunyuan_video", (0.0001234,) * steps, rows, rows)
        gaps = curve_of_gaps(steps)
        trimmed = Calibration(curve.architecture, curve.ratios, *[tuple(r[:gaps] for r in t) for t in (rows, rows)])
        text = trimmed.to_json()
        assert len(text) <= LARGEST_FILE
        assert json.loads(text)["version"] == VERSION == 2
        assert Calibration.from_json(text) == trimmed


def curve_of_gaps(steps: int) -> int:
    """Steps back that a recorded run of so many steps keeps."""
    return len(calibration_of(run_of([1.0 + i for i in range(steps)]).statistics).residual[0])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": 1}, "version 1"),
        ({"version": 3}, "version 3"),
        ({"version": "2"}, "version '2'"),
        ({"residual": 5}, "residual"),
        ({"residual": [[1], [1]]}, "residual"),  # two rows for three steps
        ({"velocity": [[1], [2], ["3"]]}, "velocity"),
        ({"velocity": [[1], [2], [-3]]}, "velocity"),
        ({"residual": [[1], [2], 3]}, "residual"),
    ],
)
def test_a_bad_table_is_refused(changes, complaint):
    text = json.dumps({"version": 2, "architecture": "flux", "ratios": [1, 1, 1]} | changes)
    with pytest.raises(ValueError, match=f"{complaint}.*calibrate again"):
        Calibration.from_json(text)


# -- SmoothCache -------------------------------------------------------------------------------------------------

TABLE = tuple((0.1, 0.2, 0.4) for _ in range(10))  # one, two and three steps behind


def test_errors_at_the_same_and_at_another_number_of_steps():
    found = Errors(TABLE, "x")
    assert [found.at(TEN.step_at(0.5), gap) for gap in (1, 2, 3)] == [0.1, 0.2, 0.4]
    assert found.at(TEN.step_at(0.5), 6) == 0.8  # beyond: in proportion
    twenty = Schedule(tuple(1 - i / 20 for i in range(21))).step_at(0.5)  # two of its steps are one
    assert [found.at(twenty, gap) for gap in (1, 2, 3, 4)] == [0.1, 0.1, 0.2, 0.2]
    five = Schedule(tuple(1 - i / 5 for i in range(6))).step_at(0.6)  # one of its steps is two
    assert found.at(five, 1) == 0.2
    assert Errors(((), (0.0, 1.0)), "x").at(Schedule((1, 0.5, 0)).step_at(0.5), 1) == math.inf


def test_smoothcache_goes_by_the_steps_since_the_last_computed_one():
    steps = [(seen(1), 1), (seen(2), None), (seen(3), None), (seen(4), 1), (seen(5), None)]
    assert errors("smoothcache", *steps, residual_errors=TABLE) == [0.1, 0.1, 0.2, 0.4, 0.1]


@pytest.mark.parametrize("name", ["smoothcache", "procache", "shortest_path"])
def test_without_errors_it_says_what_to_do(name):
    assert indicator_class(name).calibrated
    with pytest.raises(ValueError, match="DiCache Calibrate"):
        indicator_class(name)(CacheConfig(threshold=1.0, magnitude_ratios=(1.0,)))


# -- plans -------------------------------------------------------------------------------------------------------


def test_the_cheapest_tiling_by_hand():
    def late(a: int, b: int) -> float:
        return (b - a - 1) * (10 - a)

    # three intervals of 1 to 4 in 6 steps: 1, 2, 3 cost 9 + 14; 1, 3, 2: 18 + 6; 2, 2, 2: 10 + 8 + 6; 1, 1, 4: 24
    assert cheapest(6, 3, late, 1, 4) == [0, 1, 3]
    # that never grow: 2, 2, 2: 24; 3, 2, 1: 20 + 7; 4, 1, 1: 30
    assert cheapest(6, 3, late, 1, 4, falling=True) == [0, 2, 4]
    assert cheapest(5, 9, lambda a, b: 0.0, 1, 3) == [0, 1, 2, 3, 4]
    assert cheapest(9, 1, lambda a, b: 0.0, 1, 3) == [0]  # longer than allowed, as there is no other


def computed(name: str, steps: int, **settings) -> list[int]:
    """Positions that a plan computes in a run, as the session sees it."""
    config = CacheConfig(threshold=1.0, indicator=name, predictor="output_reuse", **settings)
    run = CacheSession(config, schedule(steps))
    found = []
    for index, sigma in enumerate(run.schedule.sigmas[:-1]):
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(sigma), torch.zeros(1, 1, 2, 2))
        if not cache.decide()[0]:
            found.append(index)
        cache.observe(torch.zeros(1, 1, 2, 2))
    return found


def test_procache_keeps_intervals_that_never_grow_and_meets_the_budget():
    table = tuple((0.1, 0.2, 0.4, 0.7, 1.0) for _ in range(30))
    found = computed("procache", 30, residual_errors=table, warmup_steps=1, target="10")
    assert len(found) == 10
    intervals = [b - a for a, b in pairwise(found)]
    assert intervals == sorted(intervals, reverse=True)
    assert set(intervals) <= {2, 3, 4, 5}  # 29 steps in 9 intervals: 3.2 on average
    assert found[-1] == 29


def test_the_shortest_path_computes_where_the_velocity_changes_most():
    # 20 steps; the velocity changes ten times as fast in the first half
    table = tuple(tuple((0.1 if i < 10 else 0.01) * k for k in range(1, 9)) for i in range(20))
    found = computed("shortest_path", 20, velocity_errors=table, warmup_steps=1, target="8")
    assert len(found) == 8
    assert sum(i < 10 for i in found) >= 5  # even ones would be 4
    assert max(b - a for a, b in pairwise(found)) <= 8


@pytest.mark.parametrize("name", ["procache", "shortest_path"])
def test_warm_up_and_a_run_from_the_middle_count(name):
    tables = dict(residual_errors=TABLE, velocity_errors=TABLE)
    assert computed(name, 10, warmup_steps=4, target="8", **tables)[:4] == [0, 1, 2, 3]
    assert len(computed(name, 10, warmup_steps=4, target="6", **tables)) == 6
    assert len(computed(name, 10, warmup_steps=0, **tables)) == 5  # no target: half of the steps
    assert computed(name, 10, warmup_steps=0, target="10", **tables) == list(range(10))
    assert len(computed(name, 10, warmup_steps=0, target="1", **tables)) == 2  # the first and the last


def test_every_calibrated_policy_asks_for_a_calibration():
    names = [name for name, policy in POLICIES.items() if policy.calibrated]
    assert {"magcache", "meancache", "procache", "smoothcache"} <= set(names)
    for name in names:
        with pytest.raises(ValueError, match="DiCache Calibrate"):
            indicator_class(POLICIES[name].indicator)(CacheConfig())


# -- average velocity --------------------------------------------------------------------------------------------


def test_the_average_velocity_by_hand():
    # sigmas 1, 0.9: v 2 and 4; now at 0.8, next 0.7: the latent moved by -0.1 * 2 - 0.1 * 4 = -0.6, on average 3 per
    # sigma; J = (2 - 3) / -0.2 = 5, v = 4 - 5 * -0.1
    predictor = recorded("mean_velocity", [(seen(0), 2), (seen(1), 4)])
    assert forecast(predictor, seen(2)).flatten().tolist() == pytest.approx([4.5] * 4, rel=1e-4)
    # the forecast is a call like any other: a = 4 and b = 4.5, average 4.25, J = (4 - 4.25) / -0.2, v = 4.5 + 0.125
    assert forecast(predictor, seen(3)).flatten().tolist() == pytest.approx([4.625] * 4, rel=1e-4)
    assert len(predictor.held) == 2


def test_the_average_velocity_over_uneven_steps():
    # v 2 from 1 to 0.9 and 4 from 0.9 to 0.6: (0.1 * 2 + 0.3 * 4) / 0.4 = 3.5; J = (2 - 3.5) / -0.4 = 3.75
    predictor = recorded("mean_velocity", [(seen(0), 2), (seen(1), 4)])
    assert forecast(predictor, seen(4)).flatten().tolist() == pytest.approx([4 + 0.375] * 4, rel=1e-4)


def test_the_average_velocity_of_one_call_is_its_own():
    assert rebuilt("mean_velocity", [(seen(0), 2)], seen(1)) == 2
    assert rebuilt("mean_velocity", [(seen(1), 1), (seen(1), 3)], seen(1)) == 3
