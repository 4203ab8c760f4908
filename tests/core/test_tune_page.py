"""The figures of docs/tune.md: generated from what was measured, and they say where the promise is missed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import tune
from bench import results, written

FOUND = results("tune.json")
ROW = {
    "architecture": "flux", "want": "similar", "chosen": ["3x", "4x"], "kept": 7, "cases": 8, "computed": 0.3333,
    "psnr_worst": 24.04, "ssim_worst": 0.912, "full_runs": 2.2, "balanced_kept": 8, "balanced_computed": 0.5,
}  # fmt: skip
BY_HAND = {
    "comfyui": "1.2.3", "steps": 30, "tuned_on": 3, "tunings": 2, "kept": 7, "cases": 8, "kept_share": 0.875,
    "wanted_share": 0.9, "balanced_keeps": 1, "slower_than_balanced": [], "most_full_runs": 2.2, "rows": [ROW],
}  # fmt: skip


def test_the_page_is_as_generated():
    text = tune.PAGE.read_text(encoding="utf-8")
    assert written(text, "tune", tune.markdown(FOUND)) == text, "make bench-tune"


def test_every_quality_of_a_measured_model_is_there():
    rows = {(row["architecture"], row["want"]) for row in FOUND["rows"]}
    models = {architecture for architecture, _want in rows}
    assert len(rows) == len(FOUND["rows"]) == 3 * len(models) > 0
    assert sum(row["kept"] for row in FOUND["rows"]) == FOUND["kept"]


def test_models_that_were_not_measured_are_named():
    told = "**Not measured yet**: HunyuanVideo, Wan, Qwen-Image, Z-Image, U-Net."
    assert told in tune.markdown(BY_HAND)
    every = [{**ROW, "architecture": name} for name in tune.SIZES]
    assert "Not measured" not in tune.markdown({**BY_HAND, "rows": every})


def test_a_broken_promise_is_said():
    page = tune.markdown(BY_HAND)
    assert "kept in 7 of 8 cases (88%). The goal of 90% is **missed**." in page
    assert "Where it does, tuning chose slower settings in none." in page
    assert "Below the goal on its own: Flux (7 of 8)." in page
    assert "| Flux | similar | 3x; 4x | 7 of 8 | 33% | 24.0 dB | 0.912 | 2.20 | 8 (50%) |" in page


def test_a_kept_promise_and_a_slower_choice_are_said():
    page = tune.markdown({**BY_HAND, "kept_share": 0.9, "slower_than_balanced": ["wan, similar"]})
    assert "The goal of 90% is reached." in page
    assert "Where it does, tuning chose slower settings in wan, similar." in page


def test_what_was_measured_keeps_what_is_promised():
    assert FOUND["tunings"] == 3
    assert {row["cases"] for row in FOUND["rows"]} == {24}
    assert FOUND["kept_share"] >= FOUND["wanted_share"] == 0.9
    assert FOUND["slower_than_balanced"] == []
    assert FOUND["most_full_runs"] <= 6
