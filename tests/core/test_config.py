"""Settings are checked when they are made, and the error says what to write."""

import dataclasses
import math

import pytest

from dicache_core import CacheConfig
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.predictors import predictor_class
from dicache_core.presets import PUBLISHED
from dicache_core.schedule import Schedule


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("threshold", -0.1, "write 0"),
        ("threshold", math.nan, "write 0"),
        ("threshold", math.inf, "write 0"),
        ("interval", 0, "every third step"),
        ("probe_depth", 0, "1 to 1000, or -1"),
        ("warmup_steps", -3, "0 or more"),
        ("gamma_max", 0.5, "plain reuse"),
        ("gamma_max", math.nan, "plain reuse"),
        ("end_percent", 1.5, "between 0 and 1"),
        ("start_percent", 1.5, "between 0 and 1"),
        ("max_consecutive", -1, "no limit"),
        ("few_steps", -1, "computed in full"),
        ("probe_tokens", -1, "choose by size"),
    ],
)
def test_wrong_settings_say_what_to_write(field, value, advice):
    with pytest.raises(ValueError, match=advice):
        dataclasses.replace(CacheConfig(threshold=0.1), **{field: value})


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        CacheConfig(threshold=0.1).threshold = 0.2


@pytest.mark.parametrize(("total", "warmup"), [(30, 6), (50, 10), (35, 7), (12, 3), (4, 1), (1, 1)])
def test_automatic_warmup_is_a_fifth_rounded_up(total, warmup):
    assert CacheConfig(threshold=0.1).warmup_of(total) == warmup


def test_published_settings_are_the_papers():
    settings = {name: (c.threshold, c.probe_depth, c.gamma_max, c.warmup_steps) for name, c in PUBLISHED.items()}
    assert settings["flux"] == (0.4, 1, 1.5, None)
    assert settings["hunyuan_video"] == (0.1, 1, 1.5, None)
    assert settings["wan"] == (0.08, 1, 2.0, None)


def test_unknown_names_list_the_known_ones():
    for look_up in (indicator_class, predictor_class):
        with pytest.raises(ValueError, match=r"unknown .* 'nonsense': write one of .*"):
            look_up("nonsense")


@pytest.mark.parametrize(
    ("step", "reason"), [(0, "warm-up"), (1, "warm-up"), (2, "outside"), (4, None), (8, "outside"), (9, "last step")]
)
def test_closed_steps_are_known_beforehand(step, reason):
    config = CacheConfig(threshold=0.5, warmup_steps=2, start_percent=0.3, end_percent=0.8)
    schedule = Schedule(tuple(1 - i / 10 for i in range(11)))
    closed = config.block_reason(schedule.step_at(schedule.sigmas[step]))
    assert closed is None if reason is None else closed.startswith(reason)
