"""The committed figures of ``make bench-risk`` bear out what the words at a run's end say."""

import json
import statistics
from pathlib import Path

import pytest

from dicache_core import closeness_of

FOUND = json.loads(
    (Path(__file__).resolve().parents[2] / "bench" / "results" / "risk.json").read_text(encoding="utf-8")
)
MODELS = {"flux", "hunyuan_video", "wan", "z_image", "qwen_image", "unet"}


def ranks(values: list[float]) -> list[float]:
    """Place of each in order; equals share the mean of theirs."""
    order = sorted(values)
    first, last = {v: order.index(v) for v in set(values)}, {v: n for n, v in enumerate(order)}
    return [(first[v] + last[v]) / 2 for v in values]


def test_the_order_of_risks_is_that_of_the_errors():
    pictures = FOUND["pictures_of"]
    assert {p["model"] for p in pictures} == MODELS
    assert len(pictures) > 500
    found = statistics.correlation(ranks([p["risk"] for p in pictures]), ranks([-p["psnr"] for p in pictures]))
    assert found == pytest.approx(FOUND["rank_correlation"], abs=0.001)
    assert found >= 0.75


@pytest.mark.parametrize(("word", "decibels", "share"), [("very close", 40, 0.9), ("close", 31, 0.8)])
def test_the_words_mean_decibels(word, decibels, share):
    psnr = [p["psnr"] for p in FOUND["pictures_of"] if closeness_of(p["risk"]) == word]
    found = statistics.fmean(value >= decibels for value in psnr)
    assert found == pytest.approx(FOUND["words"][word][f"from_{decibels}_dB"], abs=0.001)
    assert found >= share
