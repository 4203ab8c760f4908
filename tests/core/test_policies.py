"""The known methods on numbers worked out by hand."""

import math

import pytest
import torch
from core.toys import error_of, hidden, schedule

from dicache_core import CacheConfig, CacheSession, Calibration, SampleKey
from dicache_core.calibration import calibration_of, recording_config
from dicache_core.methods.extrapolation import adams_bashforth2, bdf2, bdf2_heun, hold, linear, taylor2
from dicache_core.methods.hyca import CLUSTERS, cluster_channels, describe
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.predictors import predictor_class
from dicache_core.observation import Observation
from dicache_core.timing import Stopwatch

TEN = schedule()  # sigmas 1, 0.9, ... 0.1, 0


def seen(step: int, h0=0.0, hm=0.0, latent=0.0, modulated=0.0) -> Observation:
    """Step ``step`` of ten, every entry of a tensor being the number given."""
    h0, hm, latent, modulated = (hidden(float(v))[0] for v in (h0, hm, latent, modulated))
    return Observation(TEN.step_at(TEN.sigmas[step]), latent=latent, h0=h0, hm=hm, modulated=modulated)


def errors(name: str, *steps: tuple[Observation, float | None], **settings) -> list[float]:
    """Errors along steps of (observation, value learnt or None where the step is reused)."""
    indicator, found = indicator_class(name)(CacheConfig(threshold=1.0, **settings)), []
    for observation, value in steps:
        found.append(error_of(indicator, observation))
        indicator.follow(observation)
        if value is not None:
            indicator.learn(observation, hidden(float(value))[0])
    return found


def rebuilt(name: str, anchors: list[tuple[Observation, float]], now: Observation, **settings) -> float:
    predictor = predictor_class(name)(CacheConfig(threshold=1.0, **settings))
    assert not predictor.ready
    for observation, value in anchors:
        predictor.record(observation, hidden(float(value))[0])
    assert predictor.ready
    out = torch.empty(2, 2)
    predictor.plan(now, [s.item() for s in predictor.measure(now)])
    predictor.forecast(out)
    assert out.std() == 0
    return out[0, 0].item()


# -- when --------------------------------------------------------------------------------------------------------


def test_first_block_compares_with_the_last_computed_step():
    # q: 2 computed, 3 reused, 4 against 2 again: |3-2|/2, |4-2|/2
    found = errors("first_block", (seen(0, 1, 3), 9), (seen(1, 1, 4), None), (seen(2, 0, 4), None))
    assert found == [math.inf, 0.5, 1.0]
    assert not indicator_class("first_block").accumulates


def test_teacache_with_the_identity_and_with_a_published_polynomial():
    steps = [(seen(0, modulated=2), 1), (seen(1, modulated=2.2), None)]  # moved by 0.1
    assert errors("teacache", *steps)[1] == pytest.approx(0.1, rel=1e-5)
    # 498.651651e-4 - 283.781631e-3 + 55.8554382e-2 - 3.82021401e-1 + 0.264230861
    expected = 0.0498651651 - 0.283781631 + 0.558554382 - 0.382021401 + 0.264230861
    assert errors("teacache", *steps, architecture="flux")[1] == pytest.approx(expected, rel=1e-4)


def test_teacache_compares_with_the_previous_step_and_is_never_negative():
    assert errors("teacache", (seen(0, modulated=1), 1), (seen(1, modulated=2), None), (seen(2, modulated=3), None))[
        1:
    ] == [1, 0.5]
    assert (
        errors("teacache", (seen(0, modulated=1), 1), (seen(1, modulated=1.27), 1), architecture="hunyuan_video")[1] > 0
    )
    standing = errors("teacache", (seen(0, modulated=1), 1), (seen(1, modulated=1), 1), architecture="hunyuan_video")
    assert standing[1] == pytest.approx(0.0961237896)


def test_easycache_by_hand():
    # x 10, 8, 7, 6; v 4, 5 computed: k = |5-4| / |8-10| = 0.5; then 0.5 * |7-8| / 5 and 0.5 * |6-7| / 5
    found = errors(
        "easycache",
        (seen(0, latent=10), 4),
        (seen(1, latent=8), 5),
        (seen(2, latent=7), None),
        (seen(3, latent=6), None),
    )
    assert found == [math.inf, math.inf, pytest.approx(0.1), pytest.approx(0.1)]


def test_sensitivity_by_hand():
    # v moved by 1 of 5; x moved by 1 where it had moved by 2; sigma by 0.1 where by 0.1, then by 0.2
    found = errors(
        "sensitivity",
        (seen(0, latent=10), 4),
        (seen(1, latent=8), 5),
        (seen(2, latent=7), None),
        (seen(3, latent=6), None),
    )
    assert found[:2] == [math.inf, math.inf]
    assert found[2:] == [pytest.approx(0.2 * (0.5 + 1) / 2), pytest.approx(0.2 * (1 + 2) / 2)]


def test_magcache_by_hand():
    curve = (0.0, 0.9, 0.9, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0)
    steps = [(seen(1), 1), (seen(2), None), (seen(3), None), (seen(4), 1), (seen(5), None), (seen(9), None)]
    found = errors("magcache", *steps, magnitude_ratios=curve)
    # 0.9 computed; 0.9; 0.9 * 0.8; 0.9 * 0.8 * 0.5 computed; 0.5; not measured
    assert found == [pytest.approx(e) for e in (0.1, 0.1, 0.28, 0.64, 0.5)] + [math.inf]


def test_magcache_at_another_number_of_steps():
    # a curve of 5 steps in a run of 10: half the change per step
    assert errors("magcache", (seen(2), None), magnitude_ratios=(0.0, 0.81, 0.5, 0.5, 0.5)) == [pytest.approx(0.1)]


def test_magcache_without_a_curve_says_what_to_do():
    with pytest.raises(ValueError, match="Calibrate"):
        indicator_class("magcache")(CacheConfig(threshold=1.0))


def test_a_curve_is_recorded_and_read_back():
    run = CacheSession(recording_config(), schedule(5))
    for step, stack in enumerate([10.0, 8.0, 4.0, 4.0, 2.0]):
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[step]), hidden(0.0))
        cache.enter(hidden(0.0))
        assert cache.decide() == (False,)
        cache.complete(hidden(stack))
        run.close(cache, Stopwatch(torch.device("cpu")))
    curve = calibration_of(run.statistics)
    assert curve.ratios == pytest.approx((0.0, 0.8, 0.5, 0.0, 0.0))
    assert Calibration.from_json(curve.to_json()) == curve


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no", "not JSON"),
        ("[1]", "architecture"),
        ('{"version": 2, "architecture": "flux", "ratios": []}', "ratios"),
        ('{"version": 2, "architecture": "flux", "ratios": [1, "2"]}', "ratios"),
        ('{"version": 2, "architecture": "flux", "ratios": [true]}', "ratios"),
        ('{"version": 2, "architecture": "flux", "ratios": [NaN]}', "ratios"),
        ('{"version": 2, "architecture": "flux", "ratios": [-1]}', "ratios"),
        (" " * 70000, "characters"),
    ],
)
def test_a_bad_curve_is_refused(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        Calibration.from_json(text)


def test_fixed_interval_and_mask():
    assert errors("fixed", (seen(1), None), (seen(2), None)) == [1.0, 1.0]
    assert indicator_class("fixed").limit(CacheConfig(threshold=0.1, interval=3)) == 3.0
    assert errors("mask", *[(seen(i), None) for i in range(5)], mask="1,0, 0,1") == [math.inf, 0, 0, math.inf, math.inf]
    with pytest.raises(ValueError, match="mask"):
        CacheConfig(threshold=1.0, mask="1,2")


def test_trajectory_error_is_the_predictors_own_on_the_probe():
    # q 1, 2 computed; q = 3.2: alignment clips gamma to 2 and says 3; line in sigma: 2 + 0.6 * 1 = 2.6; reuse says 2
    steps = [(seen(0, 0, 1), 5), (seen(1, 0, 2), 6), (seen(2, 0, 3.2), None)]
    assert errors("trajectory_error", *steps, gamma_max=2.0)[2] == pytest.approx(0.2 / 3.2, rel=1e-5)
    assert errors("trajectory_error", *steps, predictor="output_line")[2] == pytest.approx(0.6 / 3.2, rel=1e-5)
    assert errors("trajectory_error", *steps, predictor="reuse")[2] == pytest.approx(1.2 / 3.2, rel=1e-5)
    assert errors("trajectory_error", *steps, predictor="taylor1")[2] == pytest.approx(0.2 / 3.2, rel=1e-5)


# -- how ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "weights", "parabola"),
    [
        (hold, (1, 0, 0), 4),
        (linear, (2, -1, 0), 7),  # 4 + 3
        (taylor2, (2.5, -2, 0.5), 8),  # 4 + 3 + (3 - 1) / 2
        (adams_bashforth2, (2.5, -2, 0.5), 8),  # 4 + 1.5 * 3 - 0.5 * 1
        (bdf2, (7 / 3, -5 / 3, 1 / 3), 23 / 3),  # 4/3 * 4 - 1/3 * 1 + 2/3 * (3 * 4 - 4 * 1) / 2
        (bdf2_heun, (29 / 12, -22 / 12, 5 / 12), 94 / 12),  # 4 + 1/2 (4 + 11/3)
    ],
)
def test_solvers_one_even_step_ahead_of_0_1_4(solver, weights, parabola):
    found = solver(3.0, (2.0, 1.0, 0.0))
    assert found == pytest.approx(weights)
    assert sum(w * v for w, v in zip(found, (4, 1, 0), strict=True)) == pytest.approx(parabola)


def test_solvers_with_uneven_steps():
    assert linear(6.0, (4.0, 2.0)) == (2, -1)
    # g = 1/2, gaps 2 and 4: D1 = (b-a)/2, D1' = (a-c)/4, D2 = (D1-D1')/2; h = 1
    assert taylor2(7.0, (6.0, 4.0, 0.0)) == pytest.approx((1 + 0.5 + 0.125, -0.5 - 0.125 - 0.0625, 0.0625))
    assert adams_bashforth2(7.0, (6.0, 4.0, 0.0)) == pytest.approx((1.75, -0.75 - 0.125, 0.125))


@pytest.mark.parametrize("solver", [hold, linear, taylor2, adams_bashforth2, bdf2, bdf2_heun])
def test_solvers_keep_a_constant_and_work_with_one_anchor(solver):
    assert sum(solver(5.5, (4.0, 3.0, 1.0))) == pytest.approx(1)
    assert solver(5.5, (4.0,)) == (1.0,)


@pytest.mark.parametrize(("name", "value"), [("taylor1", 7), ("taylor2", 8), ("foca", 94 / 12), ("reuse", 4)])
def test_residual_forecasts_by_hand(name, value):
    anchors = [(seen(i), float(i * i)) for i in range(3)]
    assert rebuilt(name, anchors, seen(3)) == pytest.approx(value)


def test_the_same_moment_twice_is_one_anchor():
    assert rebuilt("taylor1", [(seen(0), 1), (seen(1), 7), (seen(1), 2)], seen(2)) == 3


def test_output_reuse_and_difference():
    anchors = [(seen(0, latent=9), 3), (seen(1, latent=8), 5)]
    assert rebuilt("output_reuse", anchors, seen(2, latent=7)) == 5
    assert rebuilt("output_difference", anchors, seen(2, latent=7)) == 7 + 5 - 8


def test_output_line_shrinks_by_what_its_last_forecast_was_worth():
    # two anchors: 0.6 of the line's step, 4 + 0.6 * 2
    assert rebuilt("output_line", [(seen(0), 2), (seen(1), 4)], seen(2)) == pytest.approx(5.2)
    # the line would have said 2 + 2 = 4 for the third, which was 2.5: w = 0.5 / 2 = 0.25; then 2.5 + 0.25 * 0.5
    assert rebuilt("output_line", [(seen(0), 0), (seen(1), 2), (seen(2), 2.5)], seen(3)) == pytest.approx(2.625)
    # two steps ahead: reach 2
    assert rebuilt("output_line", [(seen(0), 0), (seen(1), 2), (seen(2), 2.5)], seen(4)) == pytest.approx(2.75)
    # it turned back: w = 0; it went further: w = 1
    assert rebuilt("output_line", [(seen(0), 0), (seen(1), 2), (seen(2), 1)], seen(3)) == 1
    assert rebuilt("output_line", [(seen(0), 0), (seen(1), 2), (seen(2), 9)], seen(3)) == pytest.approx(16)


def test_hyca_gives_each_channel_its_solver():
    """32 channels stand still, 32 move on a line, 32 on a parabola: each kind gets a solver that fits it."""
    from dicache_core.methods.hyca import HyCa

    scale = torch.linspace(1, 2, 32)

    def value(t: float) -> torch.Tensor:
        return torch.cat([5 * scale, 5 * scale * t + scale, 5 * scale * t * t + scale])[None].repeat(4, 1)

    predictor = HyCa(CacheConfig(threshold=1.0))
    for step in range(4):
        assert predictor.choice is None
        predictor.record(seen(step, 0, 1 + step), value(step))
    out, now = torch.empty(4, 96), seen(4, 0, 5)
    predictor.plan(now, [])
    predictor.forecast(out)
    assert torch.allclose(out[:, :64], value(4)[:, :64], rtol=1e-4)
    # the best of all on 0, 1, 4 -> 9 is Taylor's 8 (and AB2's): 5 * (9 + 5 + (5 - 3) / 2) + 1 one step later
    assert torch.allclose(out[:, 64:], (5 * 15 + 1) * scale.repeat(4, 1), rtol=1e-4)
    assert len(predictor.anchors) == 3


def test_clusters_tell_kinds_of_channels_apart():
    t = torch.arange(64) % 2
    still, wild = torch.ones(5, 64), torch.where(t == 0, 1.0, 50.0).repeat(5, 1)
    cluster = cluster_channels(describe(wild, still, still))
    assert set(cluster[t == 0].tolist()).isdisjoint(cluster[t == 1].tolist())
    assert cluster.max() < CLUSTERS
