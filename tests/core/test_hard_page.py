"""The tables of hard images are made from what their bench wrote, and say where the worst six are behind."""

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tools" / "bench"))
import bench  # noqa: E402
import hard  # noqa: E402


def way(mean: float, six: float, calls: float = 10.0) -> dict:
    return {"calls": calls, "psnr_mean": mean, "psnr_six": six, "psnr_worst": six - 1}


def row(own: dict, paper: dict, size: str = "12x12", target: str = "2x") -> dict:
    where = {"model": "flux", "size": size, "larger": size != "12x12", "setting": "euler30", "target": target}
    return where | {"calls": 30.0, "own": own, "paper": paper, "fewer": way(20, 15)}


def test_the_worst_six_by_hand():
    found = hard.summary({"calls": 10.004, "psnr": [40.0, 20, 26, 50, 24, 22, 28, 30]})
    assert found == {"calls": 10.0, "psnr_mean": 30.0, "psnr_six": 25.0, "psnr_worst": 20.0}


def test_the_verdict_counts_cells_by_their_mean_and_by_their_worst_six():
    rows = [row(way(40, 30), way(35, 32)), row(way(34, 30), way(35, 29.5), "24x24"), row(way(40, 30), way(35, 30.5))]
    told = hard.verdict(rows)
    assert "highest mean in 2 of 3 cells.\nAt the larger sizes it has it in 0 of 1." in told
    assert "behind that of the paper's rule in 2 cells.\nIn 1 of them it is behind by more than 1 dB." in told
    assert "The most is 2.0 dB (Flux 12x12, euler30, 2x)." in told
    assert "Against fewer steps it is behind in 0" in told


def test_where_it_is_behind_is_named_the_most_first():
    rows = [row(way(40, 30), way(35, 30.5)), row(way(40, 30), way(35, 32), "24x24"), row(way(40, 30), way(35, 30))]
    assert hard.behind(rows).splitlines() == [
        "- Flux 24x24, euler30, 2x: 2.0 dB behind the paper's rule",
        "- Flux 12x12, euler30, 2x: 0.5 dB behind the paper's rule",
    ]
    assert hard.behind(rows[2:]) == "Nowhere.", "as good is not behind"


def test_two_plans_are_compared_in_the_cells_that_both_have():
    before = [row(way(38, 26), way(35, 30)), row(way(38, 28), way(35, 30), "24x24")]
    rows = [
        row(way(40, 30, 10.5), way(35, 30)),
        row(way(37, 27), way(35, 30), "24x24"),
        row(way(1, 1), way(1, 1), "6x6"),
    ]
    line = hard.against(rows, before).splitlines()[-1]
    assert line == "| 2x | 2 | +0.50 | +1.50 | +1.50 | -1.0 to +4.0 | +0.25, more in 1 |"


def test_the_best_worst_six_of_a_row_is_bold():
    assert "| 40.0 / 30.0 / 29.0 [10] | 35.0 / **32.0** / 31.0 [10] |" in hard.rows_of([row(way(40, 30), way(35, 32))])


def test_48_images_that_nothing_was_tuned_on_at_two_sizes_of_every_model():
    spans = [span.split("-") for span in hard.IMAGES.split(",")]
    images = [number for first, last in spans for number in range(int(first), int(last) + 1)]
    assert len(set(images)) == len(images) == 48
    assert {number % 16 for number in images} == set(range(8, 16))
    for model in hard.LARGER:
        usual, larger = (hard.Place(model, hard.EULER, larger=size).sized for size in (False, True))
        assert (larger.size, larger.frames) > (usual.size, usual.frames)


def test_what_was_not_measured_is_named():
    told = hard.markdown([row(way(40, 30), way(35, 32))]).splitlines()[0]
    assert told.startswith("**Not measured yet**: Flux 12x12 2m_sgm25, ")
    assert told.endswith("U-Net 12x12 unipc20.")
    assert hard.markdown([]).startswith("**Not measured yet**")


@pytest.mark.parametrize(
    ("page", "text"),
    [(hard.PAGE, lambda rows: hard.markdown(rows, hard.rows_in(hard.BEFORE))), (bench.README, hard.line_of)],
    ids=["settings", "readme"],
)
def test_pages_say_what_the_results_say(page, text):
    found = page.read_text(encoding="utf-8")
    told = text(hard.rows_in(hard.FILE))
    assert bench.written(found, "hard", told) == found, 'run make bench-hard ARGS="--page"'
