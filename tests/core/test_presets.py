"""Preset, policy and typed numbers: which wins, and what wrong ones are answered with."""

import dataclasses
import math

import pytest

from dicache_core import PRESETS, PUBLISHED, CacheConfig, Policy, parse_settings, published, resolve, settings_of


def test_published_preset_is_the_published_table():
    assert PRESETS["published"] is PUBLISHED
    assert resolve("flux") == published("flux")
    assert [PUBLISHED[name].threshold for name in ("flux", "hunyuan_video", "wan")] == [0.4, 0.1, 0.08]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_covers_every_architecture(preset):
    assert set(PRESETS[preset]) == set(PUBLISHED)
    assert all(config.threshold > 0 for config in PRESETS[preset].values())


@pytest.mark.parametrize("preset", PRESETS)
def test_automatic_values_are_the_presets(preset):
    assert resolve("wan", preset) == PRESETS[preset]["wan"]


def test_a_typed_number_wins_over_preset_and_policy():
    policy = Policy("delta_minus", "reuse", threshold=0.7, probe_depth=3)
    config = resolve("flux", "fast", policy, threshold=0.25, probe_depth=2, warmup_steps=0, max_consecutive=4)
    assert (config.threshold, config.probe_depth, config.warmup_steps, config.max_consecutive) == (0.25, 2, 0, 4)
    assert (config.indicator, config.predictor) == ("delta_minus", "reuse")


def test_a_policy_wins_over_the_preset_where_it_has_a_number():
    config = resolve("wan", policy=Policy("delta_minus", "reuse", threshold=0.7))
    assert config == dataclasses.replace(published("wan"), indicator="delta_minus", predictor="reuse", threshold=0.7)
    assert resolve("wan", policy=Policy("delta_y", "trajectory")) == published("wan")


def test_presets_of_the_packs_own_are_speeds_and_other_rules_end_them():
    speeds = [resolve("flux", preset).target for preset in ("fidelity", "balanced", "fast", "published")]
    assert speeds == ["1.5x", "2x", "3x", ""]
    assert resolve("flux", "fast", Policy("first_block", "reuse", threshold=0.1)).target == ""
    assert resolve("flux", "fast", Policy("first_block", "reuse", target="2x")).target == "2x"
    assert resolve("flux", "fast", threshold=0.2).target == ""


def test_zero_is_a_threshold_and_a_warmup_that_can_be_typed():
    config = resolve("flux", threshold=0.0, warmup_steps=0, max_consecutive=0)
    assert (config.threshold, config.warmup_steps, config.max_consecutive) == (0.0, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": math.nan}, "threshold is nan: write -1"),
        ({"threshold": math.inf}, "threshold is inf: write -1"),
        ({"threshold": 1e9}, "threshold is 1e.09: write .* up to 10"),
        ({"threshold": -0.5}, "threshold is -0.5: write -1"),
        ({"preset": "turbo"}, "unknown preset 'turbo': write one of .*balanced, fast, fidelity, published"),
        ({"probe_depth": -3}, "probe_depth is -3: write"),
        ({"warmup_steps": -3}, "warmup_steps is -3: write"),
        ({"max_consecutive": -3}, "max_consecutive is -3: write"),
        ({"start_percent": 0.8, "end_percent": 0.2}, "start_percent 0.8 to end_percent 0.2 .* write two numbers"),
        ({"start_percent": math.nan}, "start_percent nan .* write two numbers"),
        ({"cache_device": "tpu"}, "cache_device is 'tpu': write one of auto, gpu, cpu"),
    ],
)
def test_wrong_values_say_what_to_write_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        resolve("flux", **arguments)
    assert "\n" not in str(error.value)


def test_policy_refuses_names_and_numbers_when_it_is_made():
    with pytest.raises(ValueError, match="unknown indicator 'crystal ball': write one of"):
        Policy("crystal ball", "reuse")
    with pytest.raises(ValueError, match="unknown predictor 'dice': write one of"):
        Policy("delta_y", "dice")
    with pytest.raises(ValueError, match="probe_depth is -2"):
        Policy("delta_y", "reuse", probe_depth=-2)


def test_settings_are_presets_and_thresholds_in_order_each_once():
    assert parse_settings(" Fast,0.2 , published,0.20,fast,\n0") == ("fast", 0.2, "published", 0.0)
    labels = [label for label, _ in settings_of("published, 0.2", "flux")]
    assert labels == ["published (0.4)", "threshold 0.2"]
    assert settings_of("0.2", "wan")[0][1] == CacheConfig(threshold=0.2, gamma_max=2.0, architecture="wan")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "settings is empty: write"),
        (" , ", "settings is empty: write"),
        ("published 0.2", "settings has 'published 0.2': write a threshold .* published, fidelity, balanced, fast"),
        ("nan", "threshold is nan"),
        ("-1", "threshold is -1"),
    ],
)
def test_wrong_settings_say_what_to_write(text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings(text)
