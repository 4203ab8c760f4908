"""The committed figures of ``make bench-risk`` bear out what the words at a run's end say, for every model."""

import statistics
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import risk
from bench import results, written

from dicache_core.image_error import ImageError
from dicache_core.quality import VISIBLE, closeness_of

FOUND = results("risk.json")
IMAGES = FOUND["images_of"]
JUDGED = [image for image in IMAGES if image["part"] == "judged"]
MODELS = sorted({image["model"] for image in JUDGED})
LEAST = {"very close": 40, "close": 31}


def called(word: str, images: list[dict]) -> list[float]:
    return [i["psnr"] for i in images if closeness_of(i["risk"]) == word]


def share(psnr: list[float], least: float) -> float:
    return statistics.fmean(value >= least for value in psnr)


def ranks(values: list[float]) -> list[float]:
    """Place of each in order; equals share the mean of theirs."""
    order = sorted(values)
    first, last = {v: order.index(v) for v in set(values)}, {v: n for n, v in enumerate(order)}
    return [(first[v] + last[v]) / 2 for v in values]


def test_nothing_that_is_judged_was_tuned_on():
    tuned = [image for image in IMAGES if image["part"] != "judged"]
    assert {i["picture"] for i in JUDGED}.isdisjoint(i["picture"] for i in tuned)
    assert {i["picture"] % 16 for i in JUDGED}.isdisjoint(i["picture"] % 16 for i in tuned), "no caption either"


def test_the_order_of_estimates_is_that_of_the_errors():
    found = statistics.correlation(ranks([i["risk"] for i in JUDGED]), ranks([-i["psnr"] for i in JUDGED]))
    assert found == pytest.approx(FOUND["judged"]["rank_correlation"], abs=0.001)
    assert found >= 0.7


def test_estimates_are_those_of_today():
    assert all(i["risk"] == pytest.approx(ImageError(i["displaced"], i["moved"]).estimate, rel=2e-3) for i in IMAGES)


@pytest.mark.parametrize("word", [*LEAST, VISIBLE])
def test_the_figures_are_those_of_the_images(word):
    psnr, told = called(word, JUDGED), FOUND["judged"]["words"][word]
    assert len(psnr) == told["images"]
    if word in LEAST:
        assert told["precision"] == pytest.approx(share(psnr, LEAST[word]), abs=0.001)


def test_the_page_is_as_generated():
    text = risk.PAGE.read_text(encoding="utf-8")
    assert written(text, "closeness", risk.markdown(FOUND)) == text, "python tools/bench/risk.py"


@pytest.mark.parametrize(("word", "bar"), [("very close", 0.9), ("close", 0.9)])
def test_words_are_true_over_all_models(word, bar):
    assert share(called(word, JUDGED), LEAST[word]) >= bar


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("word", LEAST)
def test_words_are_true_of_each_model(word, model):
    """Where it was called at all; the bar is what was measured on the judged and the larger images of tuning."""
    psnr = called(word, [i for i in IMAGES if i["model"] == model and i["part"] != "first"])
    assert not psnr or share(psnr, LEAST[word]) >= 0.86


def test_one_in_fifty_very_close_images_is_far_off_at_most():
    psnr = called("very close", [i for i in IMAGES if i["part"] != "first"])
    assert sum(value < LEAST["close"] for value in psnr) <= len(psnr) / 50


def test_the_words_hold_under_strong_guidance():
    strong = [i for i in IMAGES if i["cfg"] >= 6 and i["part"] != "first"]
    told = [(word, value) for word in LEAST for value in called(word, strong)]
    assert len(told) >= 20
    assert statistics.fmean(value >= LEAST[word] for word, value in told) >= 0.9
