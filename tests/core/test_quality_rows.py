"""Rows of the quality bench: what a part of it measures again takes the place of its like."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
from bench import merged

PLACE = ("architecture", "policy", "level")


def row(architecture, policy, level, psnr):
    return {"architecture": architecture, "policy": policy, "level": level, "psnr_mean": psnr}


def test_new_rows_take_the_place_of_their_like():
    old = [row("flux", "dicache", 15, 1.0), row("flux", "dicache", 12, 2.0), row("unet", "dicache", 15, 3.0)]
    new = [row("flux", "dicache", 15, 9.0), row("unet", "deepcache", 15, 8.0)]
    assert merged(old, new, *PLACE) == [old[1], old[2], *new]
    assert merged([], new, *PLACE) == new
