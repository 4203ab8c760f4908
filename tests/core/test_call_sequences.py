"""The calls of a run: sequences of falling sigmas, their weights, their noise, and budgets that count them."""

import itertools
import math
import time

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, CallSequence, SampleKey, resolve
from dicache_core.engine.gates import SteeredGate
from dicache_core.engine.paced_gate import PacedGate
from dicache_core.methods.indicators import indicator_class
from dicache_core.schedule import CallTracker, Schedule, in_sequences

HEUN = (1.0, 0.8, 0.8, 0.5, 0.5, 0.2, 0.2)  # three Heun steps and a last Euler step along 1, 0.8, 0.5, 0.2, 0
POINTS = (1.0, 0.8, 0.5, 0.2, 0.0)


def test_calls_of_heun_are_one_sequence():
    (sequence,) = in_sequences(HEUN, weights=range(7), noise=[1.0] * 7)
    assert sequence == CallSequence(HEUN, tuple(range(7)), (1.0,) * 7)


def test_a_sampler_that_goes_back_has_a_sequence_for_each_stage():
    sequences = in_sequences((1.0, 0.8, 0.5, 0.8, 0.5, 0.2, 0.5, 0.2), weights=range(8))
    assert [sequence.sigmas for sequence in sequences] == [(1.0, 0.8, 0.5, 0.5, 0.2, 0.2), (0.8, 0.5)]
    assert [sequence.weights for sequence in sequences] == [(0, 1, 2, 4, 5, 7), (3, 6)]


def test_something_else_that_calls_again_stays_out_of_the_samplers_sequence():
    """A guidance node calls the model a second time at every noise level, under a sampler that looks once at each."""
    book = CallTracker(Schedule(POINTS).sequences)
    assert [book.enter(sigma) for sigma in (1.0, 1.0, 0.8, 0.8, 0.5)] == [(0, 0), (1, None), (0, 1), (1, None), (0, 2)]


def test_calls_made_get_the_numbers_of_the_calls_expected():
    run = Schedule(POINTS, sequences=in_sequences(HEUN, range(7)))
    book = CallTracker(run.sequences)
    steps = [run.step_at(sigma, *book.enter(sigma)) for sigma in HEUN]
    assert [step.weight for step in steps] == list(range(7))
    assert [step.step_index for step in steps] == [0, 1, 1, 2, 2, 3, 3]


def test_a_call_that_nobody_expected_weighs_nobody_knows_what():
    step = Schedule(POINTS).step_at(0.9)
    assert not step.planned
    assert step.weight is None
    assert step.step_index == 0


def test_without_sequences_a_call_weighs_its_dsigma():
    run = Schedule(POINTS)
    assert [run.step_at(sigma).weight for sigma in POINTS[:-1]] == pytest.approx([-0.2, -0.3, -0.3, -0.2])


def test_log_snr_of_another_noise_share():
    run = Schedule((9.0, 1.0, 0.0), noise_share=lambda sigma: sigma / (1 + sigma))
    assert run.log_snr(1.0) == pytest.approx(0.0)
    assert run.log_snr(9.0) == pytest.approx(math.log(0.105 / 0.905))


@pytest.mark.parametrize(
    ("noise", "is_new"), [((1, 0.98, 0.97, 0.97), False), ((1, 0.98, 0.97, 0.96), True), ((), False)]
)
def test_noise_is_new_in_all_of_a_run_that_adds_any(noise, is_new):
    run = Schedule(POINTS, sequences=in_sequences(POINTS[:-1], noise=noise))
    assert [run.step_at(sigma).noise_is_new for sigma in POINTS[:-1]] == [is_new] * (len(POINTS) - 1)


def computed_with(sequence_noise, preset="fast", steps=12):
    plan = schedule(steps)
    run = CacheSession(
        resolve("flux", preset), Schedule(plan.sigmas, sequences=in_sequences(plan.sigmas[:-1], noise=sequence_noise))
    )
    decisions = []
    for sigma in plan.sigmas[:-1]:
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(sigma), torch.zeros(1, 1, 2, 2))
        decisions.append(not all(cache.decide()))
        cache.observe(torch.zeros(1, 1, 2, 2))
    return decisions


def test_forecasts_wait_where_the_noise_is_new():
    assert all(computed_with([0.5**i for i in range(12)]))
    assert all(computed_with([0.99**i for i in range(12)]))
    assert not all(computed_with([0.999**i for i in range(12)]))


def test_a_repeated_sigma_is_no_division_by_nothing():
    """The second call at a sigma is forecast from the first; the steps around it are forecast and made good as ever."""
    plan = Schedule((1.0, 0.9, 0.8, 0.7, 0.7, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2, 0.1, 0.0))
    for policy in ("balanced", "fast"):
        run, book, skipped = CacheSession(resolve("flux", policy), plan), CallTracker(plan.sequences), 0
        for index, sigma in enumerate(plan.sigmas[:-1]):
            sequence, call = book.enter(sigma)
            cache = run.forward([SampleKey(sequence, 0)], plan.step_at(sigma, sequence, call), torch.zeros(1, 1, 2, 2))
            reused = all(cache.decide())
            skipped += reused
            out = cache.forecast() if reused else cache.observe(torch.full((1, 1, 2, 2), math.sin(index)))
            assert out.isfinite().all()
        assert skipped > 0


def test_what_was_kept_in_one_sequence_means_nothing_in_another():
    """An anchor is a call's number in its sequence: the fourth of five calls is none of two."""
    plan = Schedule((1.0, 0.9, 0.7, 0.6, 0.0), sequences=in_sequences((1.0, 0.9, 0.7, 0.6, 0.9, 0.7, 0.6), [-0.1] * 7))
    run = CacheSession(resolve("flux", "fast"), plan)
    for sequence, call in [*((0, call) for call in range(4)), *((1, call) for call in range(2)), (9, None)]:
        step = plan.step_at(plan.sequences[sequence].sigmas[call] if call is not None else 0.6, sequence, call)
        cache = run.forward([SampleKey("cond", 0)], step, torch.zeros(1, 1, 2, 2))
        assert cache.samples[0].last is None or cache.samples[0].last.sequence == step.sequence
        cache.decide()
        cache.observe(torch.zeros(1, 1, 2, 2))


# -- budgets --------------------------------------------------------------------------------------------------------


def gate_over(plan: Schedule, target: str, sequence: int = 0, first: int = 0, indicator: str = "forecast") -> int:
    """Computed calls of a history that begins at call ``first`` of a sequence."""
    config = CacheConfig(threshold=1.0, indicator=indicator, target=target, warmup_steps=0)
    rule = indicator_class(indicator)(config)
    gate = (PacedGate if indicator == "forecast" else SteeredGate)(config, rule)
    computed = 0
    for call, sigma in enumerate(plan.sequences[sequence].sigmas):
        if call < first:
            continue
        step = plan.step_at(sigma, sequence)
        fresh = call == first  # nothing to go by yet
        if (
            fresh
            or config.block_reason(step) is not None
            or not gate.add_and_check(gate.indicator.expected_error(step, gate.budget.last_computed), step)
        ):
            gate.on_computed(step)
            computed += 1
    return computed


def midpoints(steps: int) -> Schedule:
    """As dpm_2 calls: every point of the schedule and every middle between two, but for the last step."""
    points = schedule(steps).sigmas
    calls = [s for a, b in itertools.pairwise(points) for s in ((a, (a + b) / 2) if b else (a,))]
    return Schedule(points, sequences=in_sequences(calls, [1.0] * len(calls)))


@pytest.mark.parametrize("indicator", ["forecast", "delta_y", "first_block"])
@pytest.mark.parametrize(("target", "share"), [("2x", 1 / 2), ("3x", 1 / 3), ("1.5x", 2 / 3), ("10", 1 / 3)])
def test_a_budget_is_of_calls(indicator, target, share):
    plan = midpoints(30)
    assert len(plan.sequences[0].sigmas) == 59
    assert abs(gate_over(plan, target, indicator=indicator) - 59 * share) <= 1


@pytest.mark.parametrize("indicator", ["forecast", "delta_y"])
@pytest.mark.parametrize("first", [10, 15, 24])
def test_a_history_that_begins_late_gets_its_share(indicator, first):
    """A cond that a timestep range switches in at step ``first`` computes half of what is left, not the run's half."""
    assert abs(gate_over(schedule(30), "2x", first=first, indicator=indicator) - (30 - first) / 2) <= 1


@pytest.mark.parametrize("indicator", ["forecast", "delta_y", "first_block"])
def test_steering_a_thousand_steps_takes_at_most_a_millisecond_each(indicator):
    """On a machine that takes 50 ms for a million additions; others are given as much longer as they take for those."""
    plan = schedule(1000)
    ratios = []
    for _ in range(3):  # a busy machine may slow one of them down
        steering = seconds_of(lambda: gate_over(plan, "2x", indicator=indicator))
        ratios.append(steering / seconds_of(lambda: sum(number for number in range(1_000_000))))
    assert min(ratios) * 50 / 1000 <= 1.0


def seconds_of(work) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin
