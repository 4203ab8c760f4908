"""The lines that are typed on DiCache Compare."""

from dataclasses import replace

import pytest

from dicache_core import resolve
from dicache_core.comparison import parse_settings, settings_of
from dicache_core.policies import named_policy
from dicache_core.presets import published


def test_settings_are_read_in_order_each_once():
    text = " Fast,0.2 , published,0.20,fast,\n0, 2X,2 x, 12,2.0,foca, 1, 1.5x"
    labels = [label for label, _ in settings_of(text, "flux")]
    assert labels == [
        "fast (3x)", "threshold 0.2", "published (0.4)", "threshold 0", "2x", "12 steps", "threshold 2",
        "foca (every 3rd step)", "threshold 1", "1.5x",
    ]  # fmt: skip
    assert len(parse_settings(text)) == len(labels)


def test_a_threshold_to_compare_is_the_papers_and_a_speed_or_a_count_the_packs_own():
    found = dict(settings_of("0.2, 2x, 12, published, fbcache", "wan"))
    assert found["threshold 0.2"] == replace(published("wan"), threshold=0.2)
    assert found["2x"] == resolve("wan", "balanced")
    counted = found["12 steps"]
    assert (counted.target, counted.indicator, counted.predictor) == ("12", "forecast", "corrected_line")
    assert found["published (0.08)"] == published("wan")
    assert found["fbcache (0.1)"] == resolve("wan", policy=named_policy("fbcache"))


def test_settings_are_read_for_any_architecture():
    assert [label for label, _ in settings_of("published, fbcache, balanced", "no such model")] == [
        "published (2x)", "fbcache (0.1)", "balanced (2x)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "settings is empty: write"),
        (" , ", "settings is empty: write"),
        ("published 0.2", "settings has 'published 0.2': write presets .*balanced, fast, .*published.* policies"),
        ("nan", "threshold is nan"),
        ("-1", "threshold is -1"),
        ("10.5", "threshold is 10.5"),
        ("0x", "target is '0x': write a speed"),
        ("9999999", "threshold is 1e.07"),
        ("magcache", "needs a calibration"),
        ("2x, step_mask", "needs a mask"),
    ],
)
def test_wrong_settings_say_what_to_write(text, message):
    with pytest.raises(ValueError, match=message):
        parse_settings(text)
