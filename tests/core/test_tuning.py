"""The search of DiCache Tune, on measurements worked out by hand."""

import math

import pytest

from dicache_core import KeepQuality, Trial
from dicache_core.call_plan import CallPlan
from dicache_core.quality import QUALITIES, QualityBound, Similarity
from dicache_core.tuning.search import (
    EVERYTHING,
    FAR,
    MOST_FULL_RUNS,
    NEAR,
    SPEEDS,
    Candidate,
    Ladder,
    ReachSpeed,
    lower_bound,
    search,
    surely_closer,
)

CLOSE = QUALITIES["similar"]
FULL = Trial(EVERYTHING, (Similarity(100.0, 1.0),) * 2, 1.0, 60, 60, 6.0, runs=2, runs_in_all=2)


def measuring(psnr: dict[str, float], times: dict[str, float] | None = None):
    """A toy that knows what each target gives: two pictures, both of that PSNR; its time is 1 / target unless said."""
    tried: list[str] = []

    def measure(candidate: Candidate, enough) -> Trial:
        name = candidate.label if candidate.plan else candidate.target or candidate.policy
        time = (times or {}).get(name) or 1 / float(candidate.target[:-1])
        tried.append(name)
        for pictures in (1, 2):
            likeness = (Similarity(psnr[name], 0.999),) * pictures
            computed, calls = round(30 * pictures * time), 30 * pictures
            trial = Trial(candidate, likeness, time, computed, calls, time, runs=pictures, runs_in_all=2)
            if enough(trial):
                break
        return trial

    return measure, tried


def falling(to: str) -> dict[str, float]:
    """40 dB up to a speed, 10 dB beyond it."""
    return {speed: 40.0 if float(speed[:-1]) <= float(to[:-1]) else 10.0 for speed in SPEEDS}


@pytest.mark.parametrize(
    ("last_good", "order"),
    [
        ("4x", ["2x", "3x", "4x"]),
        ("3x", ["2x", "3x", "4x"]),
        ("2.5x", ["2x", "3x", "2.5x"]),
        ("2x", ["2x", "3x", "2.5x"]),
        ("1.75x", ["2x", "1.5x", "1.75x"]),
        ("1.5x", ["2x", "1.5x", "1.75x"]),
        ("1.25x", ["2x", "1.5x", "1.25x"]),
    ],
)
def test_the_fastest_that_keeps_it_is_found_by_halves(last_good, order):
    measure, tried = measuring(falling(last_good))
    answer = search(KeepQuality(CLOSE), FULL, [], measure)
    assert answer.chosen.candidate.target == last_good
    assert answer.granted
    assert tried == order
    assert [trial.candidate.target for trial in answer.trials] == ["1x", *order]
    assert len(order) <= Ladder.of(KeepQuality(CLOSE)).most_trials == 3


def test_the_next_faster_is_the_nearest_of_those_that_were_tried():
    measure, _ = measuring(falling("2x"))
    answer = search(KeepQuality(CLOSE), FULL, [], measure)
    assert answer.next_faster.candidate.target == "2.5x"
    measure, _ = measuring(falling("4x"))
    assert search(KeepQuality(CLOSE), FULL, [], measure).next_faster is None


def test_where_nothing_keeps_it_everything_is_computed():
    measure, tried = measuring(dict.fromkeys(SPEEDS, 10.0))
    answer = search(KeepQuality(CLOSE), FULL, [], measure)
    assert answer.chosen is FULL
    assert answer.granted, "the full run keeps every quality"
    assert answer.next_faster.candidate.target == "1.25x"
    assert tried == ["2x", "1.5x", "1.25x"]


def test_what_counts_is_the_time_that_was_measured_not_the_target():
    """A 3x that takes longer than 2x, as one that computes again where it was wrong."""
    times = {speed: 1 / float(speed[:-1]) for speed in SPEEDS} | {"3x": 0.6, "4x": 0.55}
    measure, _ = measuring(falling("4x"), times)
    assert search(KeepQuality(CLOSE), FULL, [], measure).chosen.candidate.target == "2x"


def test_a_setting_that_skips_nothing_is_not_chosen():
    measure, _ = measuring(falling("4x"), dict.fromkeys(SPEEDS, 0.99))
    assert search(KeepQuality(CLOSE), FULL, [], measure).chosen is FULL


def test_a_picture_that_fails_ends_its_trial():
    measure, _ = measuring(falling("2x"))
    trials = {t.candidate.target: t for t in search(KeepQuality(CLOSE), FULL, [], measure).trials}
    assert len(trials["2x"].similarities) == 2
    assert len(trials["3x"].similarities) == 1, "the second one tells nothing new"


def test_another_method_wins_where_it_is_faster_and_keeps_it():
    psnr = falling("1.5x") | {"dicache": 40.0}
    for time, chosen in ((0.4, "dicache"), (0.9, "forecast")):
        measure, tried = measuring(psnr, {"dicache": time})
        answer = search(KeepQuality(CLOSE), FULL, [Candidate("dicache")], measure)
        assert answer.chosen.candidate.policy == chosen
        assert tried[-1] == "dicache"
        assert len(answer.trials[-1].similarities) == (2 if time == 0.4 else 1), "given up once it cannot win"


def test_another_method_that_fails_does_not_win():
    measure, _ = measuring(falling("1.5x") | {"dicache": 10.0}, {"dicache": 0.2})
    assert search(KeepQuality(CLOSE), FULL, [Candidate("dicache")], measure).chosen.candidate.target == "1.5x"


@pytest.mark.parametrize(
    ("speed", "order", "chosen"),
    [
        (2.0, ["2x", "1.5x", "1.75x"], "2x"),
        (2.2, ["2.2x", "1.75x", "2x"], "2.2x"),
        (9.0, ["9x", "2x", "3x", "4x"], "9x"),
    ],
)
def test_a_speed_is_reached_by_the_closest_that_is_fast_enough(speed, order, chosen):
    psnr = {name: 50 - 3 * float(name[:-1]) for name in (*SPEEDS, "2.2x", "9x")}
    measure, tried = measuring(psnr)
    answer = search(ReachSpeed(speed), FULL, [], measure)
    assert answer.chosen.candidate.target == chosen
    assert tried == order
    assert len(order) <= Ladder.of(ReachSpeed(speed)).most_trials


def test_a_speed_that_the_target_does_not_give_takes_a_faster_one():
    """2x that takes 0.55 of the time is no 2x; 2.5x is."""
    measure, _ = measuring({speed: 50 - 3 * float(speed[:-1]) for speed in SPEEDS}, {"2x": 0.55})
    assert search(ReachSpeed(2.0), FULL, [], measure).chosen.candidate.target == "2.5x"


def test_of_two_that_are_fast_enough_the_closer_one():
    psnr = dict.fromkeys(SPEEDS, 30.0) | {"dicache": 35.0}
    measure, _ = measuring(psnr, {"dicache": 0.45})
    assert search(ReachSpeed(2.0), FULL, [Candidate("dicache")], measure).chosen.candidate.policy == "dicache"
    psnr["dicache"] = 25.0
    assert search(ReachSpeed(2.0), FULL, [Candidate("dicache")], measure).chosen.candidate.target == "2x"


def test_where_nothing_is_fast_enough_the_fastest_is_named():
    measure, _ = measuring(dict.fromkeys(SPEEDS, 40.0), dict.fromkeys(SPEEDS, 0.8) | {"4x": 0.7})
    answer = search(ReachSpeed(3.0), FULL, [], measure)
    assert not answer.granted
    assert answer.chosen.candidate.target == "4x"


def test_the_cost_is_in_full_runs():
    """30 calls in full, for each of two seeds; 2x: 30, 3x given up after one picture: 10, 2.5x the same: 12."""
    measure, _ = measuring(falling("2x"))
    assert search(KeepQuality(CLOSE), FULL, [], measure).full_runs == pytest.approx((60 + 30 + 10 + 12) / 30)


@pytest.mark.parametrize("share", [0.6, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("psnr", [10.0, 26.0, 40.0], ids=["fail", "fail late", "keep"])
def test_a_search_never_costs_more_than_six_full_runs(share, psnr):
    """Whatever speeds are asked for, the model computes ``share`` of its calls."""
    speeds = dict.fromkeys(SPEEDS, share)
    measure, tried = measuring(dict.fromkeys([*SPEEDS, "dicache"], psnr), speeds | {"dicache": 0.9 * share})
    answer = search(KeepQuality(CLOSE), FULL, [Candidate("dicache")], measure)
    assert answer.full_runs <= MOST_FULL_RUNS == 6
    assert answer.chosen.whole, "what was given up half way is not chosen"
    assert len(tried) == len(answer.trials) - 1


# -- plans -----------------------------------------------------------------------------------------------------------

FIRST, SECOND = CallPlan((0.0, 0.3, 1.0), 30), CallPlan((0.0, 0.6, 1.0), 30)


def with_plans(goal, psnr: dict[str, float], times: dict[str, float] | None = None):
    """The search where plans are found for every target, two of them here; what they give is in ``psnr``."""
    measure, tried = measuring(psnr, times)
    asked: list[str] = []

    def find(target: str) -> list[CallPlan]:
        asked.append(target)
        return [FIRST, SECOND]

    return search(goal, FULL, [], measure, find), tried, asked


def test_a_plan_that_keeps_it_at_the_next_faster_speed_is_chosen():
    answer, tried, asked = with_plans(KeepQuality(CLOSE), falling("2x") | {"2.5x, plan": 40.0})
    assert answer.chosen.candidate.label == "2.5x, plan"
    assert answer.chosen.candidate.plan == FIRST
    assert answer.chosen.candidate.made.plan == FIRST
    assert tried == ["2x", "3x", "2.5x", "2.5x, plan"], "a slower one cannot win any more"
    assert asked == ["2.5x"]


def test_else_a_plan_at_the_speed_that_was_found_is_chosen_if_it_is_surely_closer():
    for decibels, chosen in ((41.0, "2x"), (50.0, "2x, plan")):
        answer, tried, _ = with_plans(KeepQuality(CLOSE), falling("2x") | {"2.5x, plan": 10.0, "2x, plan": decibels})
        assert tried[-2:] == ["2.5x, plan", "2x, plan"]
        assert answer.chosen.candidate.label == chosen


@pytest.mark.parametrize(
    ("first", "second", "chosen"), [(30.0, 60.0, SECOND), (60.0, 59.0, FIRST), (59.0, 60.0, SECOND)]
)
def test_for_a_speed_all_plans_at_it_are_tried_and_the_closest_is_chosen(first, second, chosen):
    psnr = {speed: 50 - 3 * float(speed[:-1]) for speed in SPEEDS}
    answer, tried, asked = with_plans(ReachSpeed(3.0), psnr | {"3x, plan": first, "3x, second plan": second})
    assert tried[-2:] == ["3x, plan", "3x, second plan"]
    assert asked == ["3x"]
    assert answer.chosen.candidate.plan == chosen


def test_a_plan_with_more_computed_calls_does_not_take_the_place_of_one_with_fewer():
    """Skips that were cancelled make it slower than the method's own plan at the same target."""
    psnr = falling("4x") | {"4x, plan": 60.0, "4x, second plan": 10.0}
    assert with_plans(KeepQuality(CLOSE), psnr)[0].chosen.candidate.plan == FIRST
    assert with_plans(KeepQuality(CLOSE), psnr, {"4x, plan": 0.3})[0].chosen.candidate.label == "4x"


def test_where_nothing_keeps_it_a_plan_at_the_slowest_speed_may():
    answer, _, asked = with_plans(KeepQuality(CLOSE), dict.fromkeys(SPEEDS, 10.0) | {"1.25x, plan": 40.0})
    assert asked == ["1.25x"]
    assert answer.chosen.candidate.label == "1.25x, plan"


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_plans_cost_no_more_than_six_full_runs_either(share):
    names = [*SPEEDS, *(f"{speed}, plan" for speed in SPEEDS)]
    answer, _, _ = with_plans(KeepQuality(CLOSE), dict.fromkeys(names, 40.0), dict.fromkeys(names, share))
    assert answer.full_runs <= MOST_FULL_RUNS


def near(*decibels: float, of: int | None = None) -> Trial:
    return above(*[value - CLOSE.psnr for value in decibels], of=of)


def test_closer_by_more_than_chance():
    """Two images: the usual spread alone is ``sqrt(4 x 16 / 5)`` = 3.6 dB, so that gains of 4.2 dB are needed."""
    assert surely_closer(near(34.5, 34.5), near(30.0, 30.0))
    assert not surely_closer(near(33.5, 33.5), near(30.0, 30.0))
    assert not surely_closer(near(34.5, of=2), near(30.0, 30.0)), "one is still to come"


def test_the_far_images_decide_which_is_closer():
    """Six dB in the mean, and yet the one image that is far off is farther off."""
    one, other = near(20.0, 46.0, 47.0, 48.0), near(24.0, 38.0, 37.0, 38.0)
    assert one.pooled_error == pytest.approx((10**-2.0 + 10**-4.6 + 10**-4.7 + 10**-4.8) / 4)
    assert not surely_closer(one, other)


# -- how like is like enough ---------------------------------------------------------------------------------------


def test_headroom_is_above_the_nearer_bound():
    quality = QualityBound(psnr=30.0, ssim=0.9)
    assert quality.headroom(Similarity(34.0, 0.999)) == pytest.approx(4.0)
    assert quality.headroom(Similarity(50.0, 0.99)) == pytest.approx(10.0), "0.1 and 0.01 are 10 dB apart"
    assert quality.headroom(Similarity(50.0, 0.8)) == pytest.approx(-10 * math.log10(2))


def test_no_difference_and_no_picture():
    assert Similarity.of(math.inf, 1.0) == Similarity(100.0, 1.0)
    assert Similarity.of(math.nan, math.nan) == Similarity(0.0, 0.0)
    assert KeepQuality(CLOSE).granted(FULL)
    assert all(quality.headroom(Similarity.of(math.nan, 1.0)) < 0 for quality in QUALITIES.values())


def test_the_bound_for_others_lies_below_what_was_measured():
    """One value: the usual spread of 4 dB alone, 1.28 of them times sqrt(2) for the value's own."""
    assert lower_bound([5.0], NEAR) == pytest.approx(5 - 1.28 * 4 * math.sqrt(2))
    # Three of mean 2 and variance 4: (4 x 16 + 2 x 4) / 6 = 12.
    assert lower_bound([0.0, 2.0, 4.0], NEAR) == pytest.approx(2 - 1.28 * math.sqrt(12) * math.sqrt(4 / 3))
    assert lower_bound([6.0, 6.0], NEAR) == lower_bound([6.0, 80.0], NEAR), "far is far"


def test_a_wide_spread_counts_also_where_all_pictures_are_good():
    """Counted as 6 dB at most they are 4.7 +- 2.2 above the bound, as they are 12.2 +- 12.8."""
    wide = [0.3, 5.0, 5.0, 6.0, 28.0, 29.0]
    assert lower_bound(wide, NEAR) > 0 > lower_bound(wide, FAR)
    assert not KeepQuality(CLOSE).granted(above(*wide))


def above(*decibels: float, of: int | None = None) -> Trial:
    """Pictures so far above the bound, one for each run, all that there are unless said."""
    likeness = tuple(Similarity(CLOSE.psnr + d, 1.0) for d in decibels)
    return Trial(EVERYTHING, likeness, 0.5, 15, 30, 1.0, len(likeness), of or len(likeness))


def test_pictures_that_barely_keep_it_are_not_enough():
    """All three above the bound, and yet of others one in four or so would not be."""
    assert not KeepQuality(CLOSE).granted(above(0.5, 1.0, 1.5))
    assert KeepQuality(CLOSE).granted(above(6.0, 6.0, 7.0))


def test_one_of_many_may_fail_by_little():
    """Nine of ten are promised: one of six that fails by 0.1 dB says nothing against that, by 5 dB it does."""
    assert KeepQuality(CLOSE).granted(above(-0.1, 9.0, 9.0, 9.0, 9.0, 9.0))
    assert not KeepQuality(CLOSE).granted(above(-5.0, 9.0, 9.0, 9.0, 9.0, 9.0))


def test_it_is_given_up_as_soon_as_no_picture_to_come_could_save_it():
    """With the usual spread alone, one at -5 dB and five as good as can be: 4.17 - 1.28 x 4.24 x 1.08 < 0."""
    assert KeepQuality(CLOSE).hopeless(above(-5.0, of=6))
    assert not KeepQuality(CLOSE).hopeless(above(-0.1, of=6))
    assert not KeepQuality(CLOSE).granted(above(9.0, 9.0, 9.0, of=6)), "three are still to come"


def test_words_are_in_order():
    bounds = [(quality.psnr, quality.ssim) for quality in QUALITIES.values()]
    assert bounds == sorted(bounds, reverse=True)
    assert list(QUALITIES) == ["looks the same", "nearly the same", "similar"]
