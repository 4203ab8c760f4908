"""docs/quality.md: generated from the rows, and it says where the own policy is behind."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import quality
from bench import README, results, written

ROWS = results("quality.json")


def row(policy, mean, tenth, level=15, architecture="flux", computed=None, samples=32):
    return {
        "architecture": architecture, "policy": policy, "level": level, "psnr_mean": mean, "psnr_p10": tenth,
        "computed_steps": level if computed is None else computed, "samples": samples,
    }  # fmt: skip


BY_HAND = [
    row("forecast", 40.0, 30.0), row("forecast_even", 41.2, 29.0), row("spectrum", 38.0, 30.5),
    row("taylorseer_1", 37.0, 20.0), row("dicache", 35.0, 20.0), row("fewer_steps", 30.0, 25.0, computed=14.0),
    row("comfyui_easycache", 33.0, 21.0, samples=16),
]  # fmt: skip


def test_the_page_and_the_readme_are_as_generated():
    for path, table in (
        (quality.PAGE, quality.page(ROWS)),
        (README, quality.short_table(ROWS)),
    ):
        text = path.read_text(encoding="utf-8")
        assert written(text, "quality", table) == text, f"{path.name}: make bench-quality ARGS=--tables"


@pytest.mark.parametrize("page", ["DiCacheApply.md", *(f"DiCacheApply/{name}.md" for name in ("en", "zh", "ja"))])
def test_the_help_page_says_how_far_the_paper_is_behind(page):
    """On transformers: a U-Net's preset ``published`` is another method."""
    found = {(r["architecture"], r["policy"]): r["psnr_mean"] for r in ROWS if r["level"] == 15}
    models = {architecture for architecture, _policy in found} - {"unet"}
    behind = [found[name, "forecast"] - found[name, "dicache"] for name in models]
    text = (README.parent / "web" / "docs" / page).read_text(encoding="utf-8")
    least, most = re.search(r"(\d+)(?: to | 到 |～)(\d+) dB", text).groups()
    assert (int(least), int(most)) == (round(min(behind)), round(max(behind)))


def test_it_says_who_is_ahead():
    text = quality.verdict(BY_HAND)
    assert "highest mean in 0 of 1 cells and the highest 10th percentile in 0 of 1 cells" in text
    assert "| Flux, 15 steps | `spectrum` | 38.0 | 40.0 | +2.0 |" in text
    assert "- Flux, 15 steps, mean: `forecast_even` +1.2 dB" in text
    assert "- Flux, 15 steps, 10th percentile: `spectrum` +0.5 dB" in text
    assert "- Flux, 15 steps, mean: +5.0 dB, goal 6, against dicache" in text
    assert "10th percentile: +10.0 dB of 6" not in text


def test_the_table_by_hand():
    lines = quality.all_of(BY_HAND, "psnr_mean").splitlines()
    assert lines[0] == "| policy, at 15 / 12 / 10 steps | Flux |"
    assert lines[2] == "| **forecast_even** | 41.2 / - / - |"  # the highest first
    assert "| spectrum | 38.0 / - / - |" in lines
    assert "| simply fewer steps | 30.0 [14.0] / - / - |" in lines


def test_the_readme_names_the_best_of_the_known_ones():
    lines = quality.short_table(BY_HAND).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "**`balanced`, `fast`**", "Spectrum, best published method in the mean", "simply fewer steps",
        "DiCache, the paper's rule", "ComfyUI's EasyCache",
    ]  # fmt: skip
    assert lines[3].endswith("| 38.0 / - |")


def test_rows_of_fewer_pictures_are_named():
    text = quality.samples_of(BY_HAND)
    assert text.startswith("Images per row: Flux 16 or 32.")
    assert "`comfyui_easycache`" in text
