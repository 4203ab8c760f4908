"""docs/settings.md is made from what the settings bench wrote, and says where the own policy loses."""

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tools" / "bench"))
import settings  # noqa: E402
from bench import results, written  # noqa: E402
from settings import CHECKPOINTS, FEW, GROUPS  # noqa: E402


def way(mean: float, p10: float = 20.0, calls: float = 10) -> dict:
    return {"calls": calls, "speed": 20 / calls, "psnr_mean": mean, "psnr_p10": p10, "psnr_worst": p10}


def row(own: float, paper: float, fewer: float) -> dict:
    ways = {"own": way(own), "paper": way(paper), "fewer": way(fewer)}
    where = {"model": "flux", "setting": "unipc20", "group": "multistep samplers", "target": "2x", "calls": 20.0}
    leads = {name: {"mean": own - mean, "error": 0.7} for name, mean in (("paper", paper), ("fewer", fewer))}
    return {**where, "tuned": True, "pictures": 16, "lead": leads, **ways}


def test_a_cell_is_won_by_the_better_mean():
    assert settings.behind(row(30, 29, 28)) == 0
    assert settings.behind(row(30, 30, 28)) == 0, "as good is not behind"
    assert settings.behind(row(30, 28, 31.5)) == 1.5


def test_a_loss_is_named_with_who_won_and_by_how_much():
    told = settings.losses([row(30, 28, 31.5), row(30, 29, 28)])
    assert told == "- Flux, unipc20, 2x: 1.5 (+-0.7) dB behind fewer steps"


def test_a_bad_tenth_percentile_is_named_too():
    told = settings.losses([row(30, 29, 28) | {"paper": way(29, p10=21.5)}])
    assert told == "- Flux, unipc20, 2x: 10th percentile 1.5 dB below the paper's"


def test_verdict_counts_the_cells_that_computed_everything():
    full = row(100, 100, 100) | {"own": way(100, calls=20)}
    told = settings.verdict([full, row(30, 28, 31.5)])
    assert "first in 1 of 2 cells (50.0%).\nIn 1 of them it computed every evaluation" in told
    assert "Of the other 1 it is first in 0" in told
    assert "up to 1.5 dB" in told


def test_where_skipped_calls_are_dear_the_same_work_is_told_beside_the_same_calls():
    dear = row(30, 31, 28) | {"model": "unet", "skip_share": 0.4}
    told = settings.verdict([dear, dear | {"work": way(29)}, dear | {"work": way(30.5)}, row(30, 31, 28)])
    assert "first in 0 of 4 cells" in told
    assert "takes a part of a computed one (U-Net 40%," in told
    assert "first in 2 of 4 cells (50.0%)" in told, "not where it is ahead with as much work, nor where nothing is dear"
    assert "paper, same work" in settings.rows_of([dear])
    assert "same work" not in settings.rows_of([row(30, 31, 28)])


def test_groups_have_means():
    told = settings.groups([row(30, 20, 10), row(40, 30, 20)])
    assert "| multistep samplers | 2 | 2 | 35.0 (2.00x) | 25.0 (2.00x) | 15.0 (2.00x) |" in told


@pytest.mark.parametrize("model", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_every_model_has_at_least_twelve_settings_of_its_own_names(model):
    names = [setting.name for setting in model.settings]
    assert len(names) == len(set(names)) >= 12
    assert all(setting.group in GROUPS for setting in model.settings)
    assert model.model.shift or not any(setting.shifted for setting in model.settings)


def test_students_are_only_measured_at_few_steps():
    for name in ("flux_reflow", "flux_lcm"):
        assert {setting.group for setting in CHECKPOINTS[name].settings} == {FEW}
        assert max(setting.steps for setting in CHECKPOINTS[name].settings) <= 8


@pytest.mark.parametrize("model", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_every_model_is_measured_at_twice_its_size_and_at_its_largest(model):
    scales = sorted({setting.scale for setting in model.settings})
    assert 2.0 in scales
    assert scales[-1] > 2 or model.model.size * scales[-1] == 32, (
        "of the students of Flux twice is what it was trained at"
    )


def test_the_verdict_counts_cells_at_larger_sizes_and_a_row_says_how_much_larger():
    larger = row(30, 31, 28) | {"setting": "double20"}
    told = settings.verdict([larger, row(30, 29, 28) | {"setting": "large20"}, row(30, 31, 28)])
    assert "At larger sizes it is first in 1 of 2 cells (50.0%)." in told
    assert "At larger" not in settings.verdict([row(30, 31, 28)])
    assert "20 steps, 2 times the edge, 16 images" in settings.rows_of([larger])


def test_the_page_says_what_the_results_say():
    page = settings.PAGE.read_text(encoding="utf-8")
    assert written(page, "settings", settings.markdown(results("settings.json")["rows"])) == page


def test_what_was_not_measured_is_named():
    told = settings.markdown([row(30, 29, 28)]).split("**Not measured yet**: ")[1].splitlines()[0]
    assert told.startswith("Flux (euler30, ")
    assert "unipc20" not in told.split(")")[0]
    assert told.endswith("U-Net, reflowed Flux, consistent Flux.")


def test_more_pictures_where_chance_may_have_decided_and_nowhere_else():
    def leads(paper: float, fewer: float) -> list[dict]:
        return [{"mean": mean, "error": 1.0} for mean in (paper, fewer)]

    assert settings.undecided(leads(9, 1.9))
    assert settings.undecided(leads(9, -1.9)), "a loss as much as a lead"
    assert not settings.undecided(leads(9, 2.1))
    assert not settings.undecided(leads(-2.1, 0.5)), "the best of the others decides"
    assert not settings.undecided([{"mean": 0.0, "error": 0.0}] * 2), "all computed"


def test_a_lead_is_of_each_picture():
    found = settings.lead({"psnr": [30.0, 42.0, 36.0]}, {"psnr": [29.0, 39.0, 34.0]})
    assert found == {"mean": 2.0, "error": 0.58}, "of 1, 3 and 2: deviation 1, over the root of three"
