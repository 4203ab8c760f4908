"""Spectrum on numbers worked out by hand."""

import pytest
import torch
from core.methods import TEN, errors, forecast, rebuilt, recorded, seen

from dicache_core import CacheConfig, CacheSession, SampleKey, resolve
from dicache_core.engine.memory import CacheMemory
from dicache_core.methods.spectrum import Spectrum, chebyshev, ridge_weights, solve
from dicache_core.policies import POLICIES, chosen_policy
from dicache_core.schedule import Schedule


def test_chebyshev_polynomials():
    # 1, t, 2t^2 - 1, 4t^3 - 3t, 8t^4 - 8t^2 + 1 at 1/2
    assert chebyshev(0.5) == [1.0, 0.5, -0.5, -1.0, -0.5]
    assert chebyshev(-1.0) == [1, -1, 1, -1, 1]


def test_ridge_with_one_anchor():
    # at -1: x = (1, -1, 1, -1, 1), at 0: (1, 0, -1, 0, 1); weight x'x* / (x'x + 0.1) = 1 / 5.1
    assert ridge_weights(0.0, [-1.0]) == pytest.approx((1 / 5.1,))


def test_ridge_with_two_anchors():
    # anchors at 0 and -1, forecast at 1; inner products 3, 1, 5 and 1, 1:
    # (3.1 1; 1 5.1) w = (1, 1), determinant 14.81: w = (4.1, 2.1) / 14.81
    assert ridge_weights(1.0, [0.0, -1.0]) == pytest.approx((4.1 / 14.81, 2.1 / 14.81))


@pytest.mark.parametrize("name", ["spectrum", "spectrum_output"])
def test_the_forecast_is_half_the_fit_and_half_the_line(name):
    # anchors of 3 at step 0 (time -1) and 4 at step 5 (time 0); step 9 of 10 lies at 0.8:
    # T(0.8) = 1, 0.8, 0.28, -0.352, -0.8432; with (1, 0, -1, 0, 1): -0.1232, with (1, -1, 1, -1, 1): -0.0112
    # w_0 = (5.1 * -0.1232 + 0.0112) / 14.81 = -0.0416691, w_-1 = (3.1 * -0.0112 + 0.1232) / 14.81 = 0.00597434
    # fit 4 * -0.0416691 + 3 * 0.00597434 = -0.1487535; line 4 + 4/5 = 4.8
    assert rebuilt(name, [(seen(0), 3), (seen(5), 4)], seen(9)) == pytest.approx((-0.1487535 + 4.8) / 2, abs=1e-5)


def test_without_the_ridge_a_polynomial_of_degree_four_is_continued(monkeypatch):
    monkeypatch.setattr("dicache_core.methods.spectrum.RIDGE", 1e-12)
    monkeypatch.setattr("dicache_core.methods.spectrum.SHARE", 1.0)  # the paper's own, without the line
    predictor = recorded("spectrum_output", [(seen(i), (i / 5 - 1) ** 4) for i in range(7)])
    assert forecast(predictor, seen(9)) == pytest.approx(torch.full((2, 2), 0.8**4).numpy(), abs=1e-3)


def test_the_window_grows_with_every_step_computed_behind_the_warm_up():
    # warm-up 5 of 30; windows 2, 2.75, 3.5, 4.25, 5, 5.75, 6.5: a computed step after 1, 1, 2, 3, 4, 4 and 5 reused
    config = resolve("flux", policy=POLICIES["spectrum_output"])
    run = CacheSession(config, Schedule(tuple(1 - i / 30 for i in range(31))))
    cells = ""
    for sigma in run.schedule.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(sigma), torch.zeros(1, 1, 2, 2))
        cells += "r" if cache.decide()[0] else "c"
        cache.observe(torch.zeros(1, 1, 2, 2))
    assert cells == "ccccc" + "rc" + "rc" + "rrc" + "rrrc" + "rrrrc" + "rrrrc" + "rrrc"  # the last one is the end


def test_an_interval_of_1_computes_every_step():
    run = CacheSession(resolve("flux", policy=chosen_policy("spectrum_output", interval=1)), TEN)
    for sigma in TEN.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], TEN.step_at(sigma), torch.zeros(1, 1, 2, 2))
        assert cache.decide() == (False,)
        cache.observe(torch.zeros(1, 1, 2, 2))


def test_the_error_is_the_share_of_the_window_that_is_used_up():
    assert errors("growing_window", (seen(5), 1), (seen(6), None), (seen(7), None)) == [0.5, 0.5, 1.0]


def test_slots_and_accounts():
    predictor = recorded("spectrum", [(seen(i % 10), i) for i in range(10)])
    assert len(predictor.held) == Spectrum.residuals == 10
    outputs = recorded("spectrum_output", [(seen(i), i) for i in range(9)])
    assert len(outputs.held) == 9
    assert outputs.stored == []
    config = CacheConfig(threshold=1.0, indicator="growing_window", predictor="spectrum_output")
    assert CacheMemory(config, 4096, 3072, torch.bfloat16).expected_bytes() == 0


def test_an_error_on_the_probe_is_not_tried_with_it():
    with pytest.raises(ValueError, match="choose the predictor trajectory"):
        CacheSession(
            CacheConfig(threshold=1.0, warmup_steps=0, indicator="trajectory_error", predictor="spectrum"), TEN
        ).forward([SampleKey("cond", 0)], TEN.step_at(1.0))


def test_the_solver():
    # 2x + y = 4, x + 3y = 7: x = 1, y = 2
    assert solve([[2, 1], [1, 3]], [4, 7]) == pytest.approx([1, 2])
    assert solve([[2, 1, 0], [1, 3, 1], [0, 1, 4]], [5, 5, 13]) == pytest.approx([8 / 3, -1 / 3, 10 / 3])
