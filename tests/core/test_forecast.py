"""The pack's own predictor and its gate: a line in log-SNR, and skipped steps made good by the next computed one."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, CallSequence, SampleKey, resolve
from dicache_core.methods import forecast
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.predictors import predictor_class
from dicache_core.observation import Observation
from dicache_core.policies import POLICIES
from dicache_core.schedule import Schedule

TEN = schedule()
LAMBDA = [TEN.log_snr(sigma) for sigma in TEN.sigmas]


def outputs(mask: str, truth, dtype=torch.float32) -> list[float]:
    """What the sampler gets at each step of a run whose computed steps are the ones of ``mask``."""
    config = CacheConfig(threshold=1.0, indicator="mask", mask=mask, predictor="corrected_line", warmup_steps=0)
    run, found = CacheSession(config, TEN), []
    assert run.needs_no_stack
    for sigma in TEN.sigmas[:-1]:
        step = TEN.step_at(sigma)
        cache = run.forward([SampleKey("cond", 0)], step, torch.zeros(1, 1, 2, 2))
        if all(cache.decide()):
            v = cache.forecast()
        else:
            v = cache.observe(torch.full((1, 1, 2, 2), float(truth(step.step_index)), dtype=dtype))
        assert v.shape == (1, 1, 2, 2)
        assert v.dtype == dtype
        found.append(v.flatten()[0].item())
    return found


def travelled(values, last: int) -> float:
    """How far an Euler sampler has come behind step ``last``."""
    return sum(values[i] * (TEN.sigmas[i + 1] - TEN.sigmas[i]) for i in range(last + 1))


def test_log_snr_by_hand():
    assert TEN.log_snr(0.5) == pytest.approx(0.0)
    assert TEN.log_snr(0.0) == pytest.approx(math.log(1.005 / 0.005))
    assert TEN.log_snr(1.0) == pytest.approx(-TEN.log_snr(0.0))


def test_a_forecast_follows_the_line_in_log_snr():
    found = outputs("1101111111", lambda i: 3 * LAMBDA[i])
    reach = (LAMBDA[2] - LAMBDA[1]) / (LAMBDA[1] - LAMBDA[0])
    assert found[:2] == pytest.approx([3 * LAMBDA[0], 3 * LAMBDA[1]])
    assert found[2] == pytest.approx(3 * LAMBDA[1] + 0.8 * reach * 3 * (LAMBDA[1] - LAMBDA[0]), rel=1e-5)


def test_the_audit_sets_the_shrinkage():
    # the third step went half as far as the line said, so the fourth is forecast with half of its line
    third = LAMBDA[1] + 0.5 * (LAMBDA[2] - LAMBDA[1])
    found = outputs("1110111111", lambda i: {0: LAMBDA[0], 1: LAMBDA[1], 2: third}.get(i, 0.0))
    reach = (LAMBDA[3] - LAMBDA[2]) / (LAMBDA[2] - LAMBDA[1])
    assert found[3] == pytest.approx(third + 0.5 * reach * (third - LAMBDA[1]), rel=1e-5)


def test_where_outputs_turned_back_the_new_way_is_followed_whole():
    """The third call came out where the first was: the old line was wrong; it says nothing of the one from there on."""
    found = outputs("1110111111", lambda i: {1: 1.0}.get(i, 0.0))
    reach = (LAMBDA[3] - LAMBDA[2]) / (LAMBDA[2] - LAMBDA[1])
    assert found[3] == pytest.approx(reach * (0.0 - 1.0), rel=1e-5)


def test_the_account_trusts_a_line_behind_a_turn_less_than_forecasts_do():
    """The fourth output went on by 0.5 the way the line led; the account takes it as if nothing had been forecast."""
    predictor = predictor_class("corrected_line")(CacheConfig(threshold=1.0))
    for index, value in enumerate((0.0, 1.0, 0.0)):
        predictor.record(Observation(TEN.step_at(TEN.sigmas[index])), torch.full((2, 2), value))
    seen = Observation(TEN.step_at(TEN.sigmas[3]))
    off = predictor._score_forecast(torch.full((2, 2), -0.5), LAMBDA[3], seen, predictor._last_difference())
    assert off.item() == pytest.approx(4 * 0.5**2)
    assert 0 < predictor.shrinkage.item() <= 1


def test_one_anchor_is_held():
    assert outputs("1011111111", lambda i: i)[1] == 0


@pytest.mark.parametrize("mask", ["1100111111", "1101001111", "1100010001"])
@pytest.mark.parametrize(
    "truth",
    [lambda i: 2.0, lambda i: 3 * LAMBDA[i] - 1, lambda i: LAMBDA[i] ** 2 - LAMBDA[i]],
    ids=["even", "line", "bent"],
)
def test_skipped_steps_are_made_good(mask, truth, monkeypatch):
    """The corrector is exact on parabolas in log-SNR: the sampler is where it would be without any skipping.

    These outputs depend on the step alone, so that none of what was missing from ``x`` is in them.
    """
    monkeypatch.setattr(forecast, "input_gain", lambda step: 0.0)
    found = outputs(mask, truth)
    for index, digit in enumerate(mask):
        if digit == "1":
            exact = travelled([truth(i) for i in range(10)], index)
            assert travelled(found, index) == pytest.approx(exact, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("share", "missed"),
    [
        (0.98, (1 - 0.99 / 0.1) / 0.98),  # fifty times as much is not followed, but ten times
        (0.9, (1 - 0.95 / 0.105) / 0.9),
        (0.5, (1 - 0.75 / 0.505) / 0.5),
        (0.1, (1 - 0.55 / 0.905) / 0.1),
    ],
)
def test_what_an_output_takes_of_x_that_was_off_by_hand(share, missed):
    """A tenth of the picture is there at a noise of 0.9, and 19/20 of what is off are followed; and so on."""
    assert forecast.input_gain(TEN.step_at(share)) == pytest.approx(missed)


def test_of_pictures_nothing_is_missed():
    assert forecast.input_gain(replace(TEN, predicts_denoised=True).step_at(0.5)) == 0.0


def test_a_computed_output_is_put_right_by_what_x_missed():
    """By hand: a call was skipped, so the next one saw an ``x`` that is off by the debt, and its output is too."""
    came = {0: 1.0, 1: 1.5, 3: 2.5}
    found = outputs("1101011111", lambda i: came.get(i, 0.0))
    second = came[1] + 0.8 * (LAMBDA[2] - LAMBDA[1]) / (LAMBDA[1] - LAMBDA[0]) * (came[1] - came[0])
    parabola = np.polynomial.Polynomial.fit([LAMBDA[0], LAMBDA[1], LAMBDA[3]], list(came.values()), 2)
    debt, width = -0.1 * (parabola(LAMBDA[2]) - second), -0.1
    right = came[3] + forecast.input_gain(TEN.step_at(TEN.sigmas[3])) * debt
    assert found[2:4] == pytest.approx([second, right + debt / width], rel=1e-5)
    # and the next forecast starts from the output as it should have been
    reach = (LAMBDA[3] - LAMBDA[1]) / (LAMBDA[1] - LAMBDA[0]) * (came[1] - came[0])
    factor = min(1.0, (right - came[1]) / reach)
    assert found[4] == pytest.approx(
        right + factor * (LAMBDA[4] - LAMBDA[3]) / (LAMBDA[3] - LAMBDA[1]) * (right - came[1]), rel=1e-5
    )


@pytest.mark.parametrize(("heavier", "share"), [(1.0, 1.0), (4.0, 0.25), (0.5, 1.0)])
def test_x_is_off_by_no_more_than_the_way_of_skipped_calls(heavier, share):
    """Under uni_pc a call can weigh four times its way: the next ones take back the rest."""
    weights = tuple(heavier * (b - a) for a, b in itertools.pairwise(TEN.sigmas))
    plan = replace(TEN, sequences=(replace(TEN.sequences[0], weights=weights),))
    predictor = predictor_class("corrected_line")(CacheConfig(threshold=1.0))
    for index in range(4):
        seen = Observation(plan.step_at(TEN.sigmas[index]))
        if index == 2:
            predictor.plan(seen, [])
            predictor.forecast(torch.empty(2, 2))
        else:
            predictor.record(seen, torch.full((2, 2), float(index)))
    assert predictor.input_gain == pytest.approx(share * forecast.input_gain(plan.step_at(TEN.sigmas[3])))


def test_behind_a_single_output_what_x_missed_is_not_known_well_enough():
    """By hand: the debt of the second call lies on the straight line between the first and the third."""
    found = outputs("1011111111", lambda i: {0: 1.0, 2: 2.0}.get(i, 0.0))
    between = 1.0 + (LAMBDA[1] - LAMBDA[0]) / (LAMBDA[2] - LAMBDA[0])
    assert found[:3] == pytest.approx([1.0, 1.0, 2.0 + (between - 1.0)], rel=1e-5)


def test_a_step_behind_a_computed_one_is_returned_as_it_is():
    found = outputs("1100111111", lambda i: math.sin(5 * i))
    assert found[5:] == pytest.approx([math.sin(5 * i) for i in range(5, 10)], rel=1e-6)
    assert found[4] != pytest.approx(math.sin(20))


def test_calls_between_the_points_of_the_schedule_get_no_correction():
    config = CacheConfig(threshold=1.0, indicator="mask", mask="110011", predictor="corrected_line", warmup_steps=0)
    run = CacheSession(config, TEN)
    for sigma in (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55):  # as a midpoint sampler calls
        cache = run.forward([SampleKey("cond", 0)], TEN.step_at(sigma), torch.zeros(1, 1, 2, 2))
        if all(cache.decide()):
            cache.forecast()
        else:
            truth = torch.full((1, 1, 2, 2), math.sin(30 * sigma))
            assert torch.equal(cache.observe(truth.clone()), truth)


def test_outputs_keep_their_dtype():
    assert all(map(math.isfinite, outputs("1100100101", lambda i: i, torch.bfloat16)))


def test_what_is_held_is_three_latents(monkeypatch):
    monkeypatch.setattr(forecast, "input_gain", lambda step: 0.0)  # the newest value stays as it came
    predictor = predictor_class("corrected_line")(CacheConfig(threshold=1.0))
    for index in range(6):
        seen = Observation(TEN.step_at(TEN.sigmas[index]))
        if index in (0, 1, 4):
            predictor.record(seen, torch.full((2, 2), float(index)))
        else:
            predictor.plan(seen, [])
            predictor.forecast(torch.empty(2, 2))
    assert len(predictor.held) == 3
    assert torch.equal(predictor.held[-1], torch.full((2, 2), 4.0))  # the newest value comes last


def planning(sigma: float, edge: float = 0.01) -> float:
    """Where a call stands for the rule, in a latent of 2304 values."""
    return math.log((1 - sigma + edge) / (sigma + edge))


def rule_for(target: str):
    return indicator_class("forecast")(CacheConfig(threshold=1.0, indicator="forecast", target=target))


@pytest.mark.parametrize(("target", "growth"), [("1.5x", 1.0), ("2x", 1.0), ("4", 0.5), ("3x", 0.5), ("5x", 0.5)])
def test_the_rules_error_by_hand(target, growth):
    rule = rule_for(target)
    # step 5 of ten: sigma 0.5, width 0.1, computed last at step 3
    expected = math.sqrt(0.1) / 0.53**growth * (planning(TEN.sigmas[5]) - planning(TEN.sigmas[3])) ** 1.25
    assert rule.expected_error(TEN.step_at(TEN.sigmas[5]), 3) == pytest.approx(expected)
    assert rule.expected_error(TEN.step_at(TEN.sigmas[3]), 3) == 0


@pytest.mark.parametrize(("target", "growth", "least"), [("2x", 0.75, 0.0), ("3x", 0.5, 0.1)])
def test_near_noise_calls_weigh_less_under_a_sampler_that_looks_back_where_few_are_computed(target, growth, least):
    rule = rule_for(target)
    # Adams-Bashforth of second order with even steps of 0.1: 1.5 of each way, half of the next one taken back
    weights = [-0.1 * w for w in (0.5, *[1.0] * 8, 1.5)]
    sigmas = (1.0, 0.95, *TEN.sigmas[2:])
    looking = Schedule(sigmas, sequences=(CallSequence(sigmas[:-1], tuple(weights)),))
    for call, width, signal in ((1, 0.1, max(0.08, least)), (5, 0.1, 0.53)):
        expected = math.sqrt(width) / signal**growth * (planning(sigmas[call]) - planning(sigmas[0])) ** 1.25
        assert rule.expected_error(looking.step_at(sigmas[call]), 0) == pytest.approx(expected)


def test_between_two_fifths_and_half_of_the_calls_errors_grow_more_and_more():
    rule, step = rule_for("9"), schedule(20).step_at(schedule(20).sigmas[10])
    assert rule.pace(step) == pytest.approx(math.sqrt(step.dsigma) / (1 - step.sigma + 0.03) ** 0.75)


@pytest.mark.parametrize(("values", "softening"), [(256, 1.0), (2304, 1.0), (9216, 0.5), (230400, 0.1)])
def test_a_larger_latent_shows_its_scene_at_more_noise(values, softening):
    run = Schedule((1.0, 0.99, 0.5, 0.0), values=values)
    assert run.softening == pytest.approx(softening)
    reach = planning(0.99, 0.01 * softening) - planning(1.0, 0.01 * softening)
    expected = math.sqrt(0.49) / (0.01 + 0.03 * softening) * reach**1.25
    assert rule_for("2x").expected_error(run.step_at(0.99), 0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weights", "is_multistep"),
    [((-0.5, -0.3), False), ((-0.499, -0.3), False), ((-0.25, -0.75), True), ((), False)],
    ids=["Euler", "Euler, rounded", "two-step", "unknown"],
)
def test_a_sampler_looks_back_where_a_call_weighs_other_than_its_way(weights, is_multistep):
    assert CallSequence((1.0, 0.5), weights).is_multistep is is_multistep


@pytest.mark.parametrize("steps", [20, 30, 50])
@pytest.mark.parametrize("target", ["1.5x", "2x", "3x"])
def test_the_own_policy_meets_its_target_exactly(steps, target):
    config = replace(resolve("flux", policy=POLICIES["forecast"]), target=target)
    plan = schedule(steps)
    run, computed = CacheSession(config, plan), 0
    for sigma in plan.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], plan.step_at(sigma), torch.zeros(1, 1, 2, 2))
        if all(cache.decide()):
            cache.forecast()
        else:
            cache.observe(torch.zeros(1, 1, 2, 2))
            computed += 1
    assert abs(computed - config.speed_target.computed(steps)) <= 1


@pytest.mark.parametrize("target", ["5", "6", "7"])
def test_the_own_policy_makes_the_sum_of_errors_as_small_as_can_be(target):
    """Against every mask with as many computed steps."""
    config = resolve("flux", policy=replace(POLICIES["forecast"], target=target))
    rule = indicator_class("forecast")(config)

    def cost(mask):
        total = anchor = 0
        for i, computed in enumerate(mask):
            total += 0.0 if computed else rule.expected_error(TEN.step_at(TEN.sigmas[i]), anchor)
            anchor = i if computed else anchor
        return total

    run, ours = CacheSession(config, TEN), []
    for sigma in TEN.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], TEN.step_at(sigma), torch.zeros(1, 1, 2, 2))
        ours.append(not all(cache.decide()))
        cache.observe(torch.zeros(1, 1, 2, 2))
    masks = [(True, *inner, True) for inner in itertools.product((False, True), repeat=8)]
    assert sum(ours) == int(target)
    assert cost(ours) == pytest.approx(min(cost(mask) for mask in masks if sum(mask) == int(target)))


def test_a_typed_threshold_ends_the_steering_together_with_the_rule():
    assert resolve("flux", policy=POLICIES["forecast"]).target == "2x"
    config = resolve("flux", "balanced", threshold=0.3)
    assert (config.target, config.indicator, config.predictor) == ("", "delta_y", "trajectory")
