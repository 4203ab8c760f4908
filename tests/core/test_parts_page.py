"""The table of docs/quality.md of policies that decide on parts of the stack: generated from what was measured."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import parts
from bench import results, written

FOUND = results("parts.json")
ROW = {
    "model": "flux", "policy": "h2cache", "asked": 20, "steps": 20.31, "whole": 20, "threshold": 0.123, "list": "",
    "images": 16,
    "psnr": {"h2cache": [30.04, 20.0], "dicache": [41.0, 31.0], "forecast": [55.0, 44.0], "fewer": [33.0, 22.0]},
}  # fmt: skip


def test_the_page_is_as_generated():
    text = parts.PAGE.read_text(encoding="utf-8")
    assert written(text, "parts", parts.markdown(FOUND)) == text, "make bench-parts ARGS=--page"


def test_a_row_says_what_was_computed_and_what_as_many_whole_steps_give():
    expected = (
        "| Flux | `h2cache`, threshold 0.123 | 20.3 of 30, 20 | 30.0 (20.0) | 41.0 (31.0) | 55.0 (44.0) | 33.0 (22.0) |"
    )
    assert expected in parts.markdown([ROW])
    assert "`profilingdit`, blocks 4-10 |" in parts.markdown(
        [{**ROW, "policy": "profilingdit", "list": "blocks 4-10", "psnr": {**ROW["psnr"], "profilingdit": [1, 1]}}]
    )


def test_every_place_was_measured():
    assert [(row["model"], row["policy"], row["asked"]) for row in FOUND] == [
        (place.model, place.policy, place.count) for place in parts.PLACES
    ]
