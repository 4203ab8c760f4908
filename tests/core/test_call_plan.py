"""Plans as data: their places, how they fit another run, and the gate that follows them; answers by hand."""

import math
from dataclasses import replace

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, CallSequence, Reason, SampleKey, resolve
from dicache_core.call_plan import SOFTENING, CallPlan, log_snr_share, shares_of
from dicache_core.policies import chosen_policy
from dicache_core.schedule import Schedule

EVEN = [i / 10 for i in range(11)]
PLAN = CallPlan((0.0, 0.1, 0.2, 0.5, 1.0), 11)


def test_a_share_by_hand():
    assert log_snr_share(1.0) == 0.0
    assert log_snr_share(0.5) == 0.5
    assert log_snr_share(0.0) == 1.0
    third = math.log((2 / 3 + SOFTENING) / (1 / 3 + SOFTENING)) / math.log((1 + SOFTENING) / SOFTENING)
    assert log_snr_share(1 / 3) == pytest.approx((1 + third) / 2)


def test_on_the_run_that_it_was_found_on_it_is_what_was_found():
    ten = schedule()
    (sequence,) = ten.sequences
    for computed in ({0, 9}, {0, 1, 2, 9}, {0, 4, 7, 8, 9}, set(range(10))):
        plan = CallPlan.of(computed, ten, sequence)
        assert plan.calls == 10
        assert plan.computed(shares_of(ten, sequence), len(computed)) == computed


def test_with_another_count_it_takes_places_between_its_own():
    """Five places and three: every second one. Nine: the middle between any two as well."""
    assert PLAN.computed(EVEN, 3) == {0, 2, 10}
    assert PLAN.computed([i / 40 for i in range(41)], 9) == {0, 2, 4, 6, 8, 14, 20, 30, 40}


def test_each_place_takes_a_call_that_is_left():
    """Of 0, 0.1 and 0.2 in a run whose second call is at 0.4 already; the last calls are kept for those to come."""
    assert PLAN.computed([0.0, 0.4, 0.5, 0.6, 1.0], 5) == {0, 1, 2, 3, 4}
    assert CallPlan((0.0, 0.8, 0.9, 1.0), 9).computed([0.0, 0.1, 0.2, 1.0], 4) == {0, 1, 2, 3}


def test_of_a_run_that_begins_later_it_serves_the_part():
    """From 0.2 on the plan has 0.2, 0.5 and 1; with four calls, 4/3 and 2/3 of the way between these."""
    late = [i / 20 for i in range(4, 21)]
    assert [late[call] for call in sorted(PLAN.computed(late, 3))] == [0.2, 0.5, 1.0]
    found = sorted(PLAN.computed(late, 4))
    assert [late[call] for call in found] == [0.2, 0.4, 0.65, 1.0]


def test_runs_of_a_call_or_two_and_counts_beyond_them():
    assert PLAN.computed([0.0], 1) == {0}
    assert PLAN.computed([0.0, 1.0], 1) == {0, 1}
    assert PLAN.computed(EVEN[:3], 9) == {0, 1, 2}


@pytest.mark.parametrize(
    ("shares", "calls"),
    [
        ((0.0,), 3),
        ((), 3),
        ((0.0, 1.0), 1),
        ((0.0, 0.5, 0.5, 1.0), 9),
        ((0.5, 0.2), 9),
        ((-0.1, 0.5), 9),
        ((0.1, 1.1), 9),
        ((0.0, math.nan, 1.0), 9),
        ((math.nan, 1.0), 9),
        ((0.0, math.inf), 9),
        (tuple(i / 1000 for i in range(501)), 9000),
        ((0.0, 1.0), 10**7),
    ],
)
def test_what_is_no_plan_is_refused(shares, calls):
    with pytest.raises(ValueError, match="the plan"):
        CallPlan(shares, calls)


# -- the gate --------------------------------------------------------------------------------------------------------


def run(config: CacheConfig, sigmas, jumps_at: int | None = None) -> tuple[list[int], list[Reason]]:
    """The steps that an Euler run computes where every forecast meets, or where one output is all another."""
    session, x, computed, reasons = CacheSession(config, Schedule(sigmas)), torch.zeros(1, 1, 2, 2), [], []
    for sigma in sigmas[:-1]:
        step = session.schedule.step_at(sigma)
        cache = session.forward([SampleKey("one", 0)], step, x)
        if all(cache.decide()):
            cache.forecast()
        else:
            sign = 1.0 if jumps_at is None or step.step_index < jumps_at else -1.0
            cache.observe(torch.full((1, 1, 2, 2), sign), torch.ones_like(x))
            computed.append(step.step_index)
        reasons.append(cache.decisions[0].reason)
    return computed, reasons


def following(computed, sigmas, target: str) -> CacheConfig:
    whole = Schedule(sigmas)
    plan = CallPlan.of(computed, whole, whole.sequences[0])
    return resolve("flux", policy=chosen_policy("forecast", target=target, plan=plan))


THIRTY = [1 - i / 30 for i in range(31)]
TEN_OF_THIRTY = [0, 1, 2, 3, 8, 13, 18, 23, 27, 29]


def test_a_run_computes_what_its_plan_says():
    computed, reasons = run(following(TEN_OF_THIRTY, THIRTY, "3x"), THIRTY)
    assert computed == TEN_OF_THIRTY
    assert reasons[0] is Reason.WARM_UP
    assert reasons[-1] is Reason.LAST_STEP
    assert reasons[4] is Reason.REUSED


def test_a_run_of_other_steps_computes_the_share_that_the_target_says():
    config = following(TEN_OF_THIRTY, THIRTY, "3x")
    computed, _ = run(config, [1 - i / 36 for i in range(37)])
    assert len(computed) == 12
    assert computed[:4] == [0, 1, 2, 3], "where the plan has its own close together"


def test_a_veto_comes_on_top():
    """All that follows the eighth step is the opposite: the next computed call finds that nothing was foreseen."""
    computed, reasons = run(following(TEN_OF_THIRTY, THIRTY, "3x"), THIRTY, jumps_at=8)
    vetoed = {step for step, reason in enumerate(reasons) if reason is Reason.VETO}
    assert vetoed
    assert set(computed) == set(TEN_OF_THIRTY) | vetoed


def test_what_is_kept_out_of_the_cache_comes_on_top():
    computed, _ = run(replace(following(TEN_OF_THIRTY, THIRTY, "3x"), end_percent=0.8), THIRTY)
    assert computed == sorted({*TEN_OF_THIRTY, *range(24, 30)})


def test_another_sequence_has_its_own_calls():
    """A sampler that looks at each noise level twice has two sequences; both follow the plan."""
    config, ten = following([0, 1, 5, 9], schedule().sigmas, "4"), schedule()
    twice = Schedule(ten.sigmas, sequences=(ten.sequences[0], CallSequence(ten.sigmas[1:-1])))
    session, computed = CacheSession(config, twice), {0: [], 1: []}
    for number in (0, 1):
        for sigma in twice.sequences[number].sigmas:
            step = twice.step_at(sigma, number)
            cache = session.forward([SampleKey(number, 0)], step, torch.zeros(1, 1, 2, 2))
            if all(cache.decide()):
                cache.forecast()
            else:
                cache.observe(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
                computed[number].append(step.call_index)
    assert computed[0] == [0, 1, 5, 9]
    assert (computed[1][0], computed[1][-1]) == (0, 8)
    assert len(computed[1]) == 4


def test_a_plan_needs_a_method_that_follows_it_and_a_target():
    with pytest.raises(ValueError, match="which calls the forecast method computes"):
        chosen_policy("dicache", plan=PLAN)
    with pytest.raises(ValueError, match="a plan needs a target"):
        CacheConfig(plan=PLAN)


def test_under_a_sampler_that_adds_noise_it_is_not_followed():
    noisy = CallSequence(tuple(THIRTY[:-1]), noise=tuple(THIRTY[1:]), next_weights=(1.0,) * 30)
    config = following(TEN_OF_THIRTY, THIRTY, "3x")
    assert CacheSession(config, Schedule(tuple(THIRTY), sequences=(noisy,))).config.plan is None
    assert CacheSession(config, Schedule(tuple(THIRTY))).config.plan == config.plan
