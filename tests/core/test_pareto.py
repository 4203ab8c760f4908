"""The Pareto plots: a name beside each line that matters, and none on another."""

import sys
from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import pareto
from bench import results
from cells import TITLES
from quality import OWN, models_of

ROWS = results("quality.json")


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([0, 100], [0, 100]),
        ([10, 10], [8, 12]),
        ([10, 12, 50], [9, 13, 50]),
        ([0, 3, 5], [-4 / 3, 8 / 3, 20 / 3]),  # three in one block around 8/3
    ],
)
def test_names_that_meet_move_as_little_as_they_must(heights, moved):
    assert pareto.apart(heights, 4) == pytest.approx(moved)


@pytest.mark.parametrize("architecture", models_of(ROWS, OWN))
def test_every_line_that_matters_has_its_name_and_no_two_overlap(architecture):
    rows = [row for row in ROWS if row["architecture"] == architecture]
    figure = pareto.drawn(rows, TITLES[architecture], OWN)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.texts} == {
        pareto.BEST[0].format(OWN),
        *(label for name, (label, _) in pareto.NAMED.items() if name != OWN and name in {r["policy"] for r in rows}),
    }
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes), "inside of the picture"
    others = {row["policy"] for row in rows} - {OWN, *pareto.NAMED}
    grey = [line for line in axes.lines if line.get_color() == pareto.OTHERS]
    assert len(grey) == len(others) + 1, "the others are grey, and so is their sample in the legend"
    pareto.plt.close(figure)
