"""The speed target: parsed, and met."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, resolve
from dicache_core.engine.gates import Gate, SteeredGate
from dicache_core.engine.paced_gate import PacedGate, cheapest
from dicache_core.methods.indicators import indicator_class
from dicache_core.policies import chosen_policy
from dicache_core.target import Target

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "total", "computed"),
    [("2x", 30, 15), ("1.5x", 30, 20), (" 3X ", 50, 17), ("12", 30, 12), ("40", 30, 30), ("1x", 7, 7), ("100x", 30, 1)],
)
def test_targets(text, total, computed):
    assert Target.parse(text).computed(total) == computed


@pytest.mark.parametrize("text", ["fast", "0.5x", "0", "-3", "2 x 3", "1e3", "x"])
def test_bad_targets_say_what_to_write(text):
    with pytest.raises(ValueError, match=r"1\.5x"):
        CacheConfig(threshold=1.0, target=text)


def steered(steps: int, target: str, error, indicator: str = "delta_y", **settings) -> list[bool]:
    """Which steps are computed, when ``error(index, anchor)`` is measured on the open ones."""
    config = CacheConfig(threshold=1.0, target=target, indicator=indicator, **settings)
    gate, found, anchor, plan = SteeredGate(config, indicator_class(indicator)(config)), [], -1, schedule(steps)
    for index in range(steps):
        step = plan.step_at(plan.sigmas[index])
        computed = config.block_reason(step) is not None or not gate.add_and_check(error(index, anchor), step)
        if computed:
            gate.on_computed(step)
            anchor = index
        found.append(computed)
    return found


CURVES = {
    "even": lambda i, b: 0.01,
    "falling": lambda i, b: 1 / (1 + i),
    "rising": lambda i, b: 0.01 * 1.2**i,
    "noisy": lambda i, b: random.Random(i).uniform(0.0, 3.0),
    "since the last computed": lambda i, b: 0.1 * (i - b) ** 2,
    "nothing at all": lambda i, b: 0.0,
}


@pytest.mark.parametrize("curve", CURVES)
def test_the_target_is_met_within_one_step(curve):
    for indicator, target, steps in itertools.product(
        ("delta_y", "first_block"), ("1.2x", "1.5x", "2x", "2.5x", "3x"), (20, 30, 50)
    ):
        found = steered(steps, target, CURVES[curve], indicator)
        assert abs(sum(found) - Target.parse(target).computed(steps)) <= 1, (indicator, target, steps)


def test_even_errors_are_computed_evenly_also_between_two_whole_steps():
    found = steered(40, "16", lambda i, b: 1.0, warmup_steps=1)
    computed = [i for i, c in enumerate(found) if c]
    gaps = [b - a for a, b in itertools.pairwise(computed)]
    assert sum(found) == 16
    assert set(gaps[1:-1]) == {2, 3}


def test_steps_are_spent_where_the_error_is():
    found = steered(30, "12", lambda i, b: 3.0 if 10 <= i < 20 else 0.3, warmup_steps=3)
    assert sum(found[10:20]) > sum(found[20:30])


@pytest.mark.parametrize(
    ("start", "end", "computed"),
    [(0.0, 1.0, 10), (0.0, 0.5, 15), (0.5, 1.0, 15), (0.25, 0.75, 15), (0.0, 0.7, 13)],  # kept out + half of the rest
)
@pytest.mark.parametrize(
    "rule", [{}, {"indicator": "forecast", "predictor": "corrected_line"}], ids=["measured", "known"]
)
def test_a_speed_is_for_the_steps_between_start_and_end_percent(start, end, computed, rule):
    found = steered(20, "2x", lambda i, b: 0.01, warmup_steps=1, start_percent=start, end_percent=end, **rule)
    assert sum(found) == computed
    assert all(found[: round(20 * start)])
    assert all(found[round(20 * end) :])


def test_a_count_is_of_all_steps_whatever_is_kept_out():
    assert sum(steered(20, "12", lambda i, b: 0.01, warmup_steps=1, end_percent=0.7)) == 12


def test_the_warm_up_leaves_half_of_the_computed_steps():
    assert CacheConfig(threshold=1.0, warmup_steps=20, target="10").warmup_of(30) == 5
    assert CacheConfig(threshold=1.0, warmup_steps=2, target="10").warmup_of(30) == 2


def test_what_cannot_be_told_is_computed():
    assert all(steered(20, "2x", lambda i, b: math.inf))


def computed_by(gate, config, plan, error: float) -> int:
    """How many calls of a run a gate has computed where every open one shows the same error."""
    computed = 0
    for sigma in plan.sigmas[:-1]:
        step = plan.step_at(sigma)
        if config.block_reason(step) is not None or not gate.add_and_check(error, step):
            gate.on_computed(step)
            computed += 1
    return computed


@pytest.mark.parametrize(("target", "expected"), [("10", 10), ("2x", 10), ("4x", 5)])
def test_a_count_is_of_this_run_and_a_factor_of_the_whole_schedule(target, expected):
    from dicache_core.schedule import Schedule

    config = CacheConfig(threshold=1.0, target=target, warmup_steps=0)
    run = Schedule((*tuple(0.5 - i / 40 for i in range(20)), 0.0), steps_before=20)
    assert computed_by(SteeredGate(config, indicator_class("fixed")(config)), config, run, 1.0) == expected


def test_without_a_target_nothing_is_carried_over():
    gate, step = Gate(0.5), schedule().step_at(0.5)
    assert not gate.add_and_check(0.9, step)
    gate.on_computed(step)
    assert gate.add_and_check(0.4, step)


@pytest.mark.parametrize(
    ("text", "total", "computed"),
    [
        ("2x", 4, 3),
        ("3x", 8, 6),
        ("1.2x", 8, 7),
        ("3x", 9, 7),
        ("2x", 11, 8),
        ("3x", 12, 8),
        ("3x", 16, 8),
        ("3x", 17, 8),
        ("3x", 30, 10),
        ("2", 4, 2),
        ("3", 12, 3),
    ],
)
def test_in_few_steps_earned_speeds_are_smaller_and_a_count_is_taken_at_its_word(text, total, computed):
    assert Target.parse(text, adaptive=True).computed(total) == computed


def test_only_speeds_of_policies_that_keep_an_account_are_earned():
    assert resolve("flux", "balanced").speed_target.adaptive
    assert not resolve("flux", policy=chosen_policy("forecast", target="12")).speed_target.adaptive
    assert not resolve("flux", policy=chosen_policy("dicache", target="2x")).speed_target.adaptive


@pytest.mark.parametrize(
    ("text", "total", "strain"),
    [("2x", 30, 0.3), ("3x", 30, 0.6), ("1.5x", 50, 0.15), ("2x", 8, 0.1), ("3x", 4, 0.4), ("2x", 12, 0.15)],
)
def test_what_a_speed_may_cost(text, total, strain):
    assert Target.parse(text, adaptive=True).allowed_latent_error(total) == pytest.approx(strain)
    assert (
        Target.parse(text).allowed_latent_error(total)
        == Target.parse("12", adaptive=True).allowed_latent_error(total)
        == math.inf
    )


def test_the_first_steps_of_few_are_computed():
    config = resolve("flux", "balanced")
    assert [config.warmup_of(total) for total in (4, 6, 8, 9, 30)] == [2, 2, 3, 1, 1]
    assert replace(config, target="6").warmup_of(8) == 1, "a count is taken at its word"


@pytest.mark.parametrize(
    ("typed", "total", "warmup"), [(0, 8, 0), (1, 8, 1), (2, 8, 2), (9, 8, 3), (4, 30, 4), (20, 30, 8)]
)
def test_a_typed_warm_up_counts_up_to_half_of_what_is_computed(typed, total, warmup):
    assert resolve("flux", "balanced", warmup_steps=typed).warmup_of(total) == warmup


@pytest.mark.parametrize("text", ["1.2x", "1.5x", "2x", "3x"])
@pytest.mark.parametrize("calls_per_step", [1, 2])
def test_no_more_is_skipped_than_an_earned_speed_says(text, calls_per_step):
    """Of whole schedules and of a part of one, as an image-to-image pass is."""
    goal = Target.parse(text, adaptive=True)
    for total in range(1, 61):
        assert goal.computed(total) * goal.factor >= total - 1e-6
        for steps in {total, max(1, round(0.3 * total))}:
            calls = max(1, calls_per_step * steps - (calls_per_step - 1))
            assert goal.budget(calls, steps, total) * goal.factor >= calls - 1e-6, (calls, steps, total)


@pytest.mark.parametrize(
    ("text", "steps", "total", "computed"),
    [("3x", 6, 20, 2), ("2x", 5, 20, 3), ("1.5x", 6, 20, 4), ("2x", 6, 6, 4), ("1.5x", 39, 20, 26), ("3x", 39, 20, 16)],
)
def test_a_part_of_a_schedule_computes_its_share(text, steps, total, computed):
    assert Target.parse(text, adaptive=True).budget(steps, steps, total) == computed


@pytest.mark.parametrize(("target", "steps"), [("1.5x", 20), ("1.5x", 26), ("2x", 25), ("3x", 28), ("3x", 50)])
def test_a_run_skips_no_more_than_its_preset_says(target, steps):
    found = steered(steps, target, lambda i, b: 0.1, "forecast", adaptive=True, warmup_steps=1)
    assert steps / float(target[:-1]) <= sum(found) <= steps / float(target[:-1]) + 1


PARTS = {"en": "denoise below 1", "zh": "降噪小于 1", "ja": "ノイズ除去が 1 未満"}
TOO_MUCH = ("Eight steps are always", "eight steps at least", "至少计算 8 步；4", "少なくとも 8 ステップ、4")


def test_the_pages_say_how_few_steps_are_computed():
    """Of a whole schedule; a run that is a part of one has its share, which may be less than eight steps."""
    computed = {total: Target.parse("3x", adaptive=True).computed(total) for total in range(1, 31)}
    assert resolve("flux", "fast").few_steps == 3, "up to here everything is computed"
    assert all(0.65 <= computed[total] / total <= 0.85 for total in range(4, 11))
    assert all(computed[total] >= 8 for total in range(11, 31))
    pages = {REPO / page: "en" for page in ("README.md", "docs/questions.md", "web/docs/DiCacheApply.md")}
    pages |= {REPO / f"web/docs/DiCacheApply/{language}.md": language for language in PARTS}
    for page, language in pages.items():
        text = " ".join(page.read_text(encoding="utf-8").split())
        assert PARTS[language] in text, page
        assert not [words for words in TOO_MUCH if words in text], page


# -- rules that know their errors -----------------------------------------------------------------------------------


def gaps(errors: Sequence[Sequence[float]]) -> torch.Tensor:
    return torch.tensor(errors, dtype=torch.float64)


def test_the_plan_with_the_smallest_sum_by_hand():
    """Five calls, the first and the last closed; skipping 1 costs 3 alone, 2 costs 1, 3 costs 2, and more in a row."""
    errors = gaps([[0, 0, 3, 9, 19], [0, 0, 0, 1, 6], [0, 0, 0, 0, 2], [0] * 5, [0] * 5])
    table = cheapest(errors, [False, True, True, True, False], 3)
    assert table[0] == [4, 2, 1, 1], "19; 3 + 2 for 2 alone against 6 for 1 and 9 for 3; 1 for 1 and 3; nothing"
    assert table[1] == [4, 3, 2, 2], "after a veto at 1 the same table goes on: 6; 1; nothing"
    assert table[2][:2] == [4, 3]


def test_closed_calls_are_computed_and_do_not_count():
    errors = gaps([[0, 0, 3, 9, 19], [0, 0, 0, 1, 6], [0, 0, 0, 0, 2], [0] * 5, [0] * 5])
    table = cheapest(errors, [False, True, False, True, False], 2)
    assert table[0] == [2, 1, 1], "3 + 2; then 1 is dearer to skip than 3"
    assert table[2] == [4, 3, 3]


@pytest.mark.parametrize(("count", "steps"), [(2, 400), (5, 1000), (300, 1000)])
def test_a_count_is_met_in_very_long_schedules(count, steps):
    plan = schedule(steps)
    config = CacheConfig(threshold=1.0, indicator="forecast", target=str(count), warmup_steps=1)
    assert computed_by(PacedGate(config, indicator_class("forecast")(config)), config, plan, 0.0) == count
