"""What the own policy reached once it keeps: no cell of the quality table may fall by more than 0.3 dB."""

import json
from pathlib import Path

import pytest

ROWS = json.loads(
    (Path(__file__).resolve().parents[2] / "tools/bench/results/quality.json").read_text(encoding="utf-8")
)
LEVELS = (18, 15, 12, 10)  # computed of 30 steps
# Mean decibels of 16 captions with two noises each, before the model could veto a skip.
REACHED = {
    ("flux", "forecast"): (51.93, 46.03, 42.44, 37.50),
    ("flux", "forecast_even"): (47.03, 40.00, 37.95, 31.44),
    ("hunyuan_video", "forecast"): (52.33, 44.47, 42.03, 38.29),
    ("hunyuan_video", "forecast_even"): (44.20, 41.72, 40.44, 39.48),
    ("wan", "forecast"): (50.07, 46.75, 43.49, 36.53),
    ("wan", "forecast_even"): (53.26, 45.56, 43.12, 37.95),
}
MAY_FALL = 0.3


@pytest.mark.parametrize(("model", "policy"), REACHED)
def test_no_cell_falls(model, policy):
    now = {row["level"]: row for row in ROWS if (row["architecture"], row["policy"]) == (model, policy)}
    assert {row["samples"] for row in now.values()} == {32}
    assert {level: round(now[level]["computed_steps"]) for level in LEVELS} == {level: level for level in LEVELS}
    fallen = [level for level, then in zip(LEVELS, REACHED[model, policy], strict=True)
              if now[level]["psnr_mean"] < then - MAY_FALL]  # fmt: skip
    assert not fallen
