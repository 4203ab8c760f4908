"""DiCache Apply (Ray) over real Ray: two and four actors on the CPU, each with the real ComfyUI and a testbed model."""

import json
import subprocess
from pathlib import Path

import pytest
from provision import NO_RAY, ProvisionError, with_ray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
CHILD = Path(__file__).with_name("ray_child.py")
ROUNDING = 1e-4  # of the latent's largest value; twelve steps in float32, with sums in another order
TOKENS = ["tokens over 2", "tokens over 4", "uneven tokens over 2", "uneven tokens over 4", "tokens over 2, balanced"]
CONDS = ["conds over 2", "conds over 2, by a measure", "conds over 2, Flux", "conds over 2, preset of blocks"]
BOTH = ["tokens over 2, conds over 2", "tokens over 2, conds over 2, by a measure"]
SINGLE_RULE = ["tokens over 2", "tokens over 4", "uneven tokens over 2", "uneven tokens over 4"]


@pytest.fixture(scope="module")
def answer(host):
    try:
        python = with_ray(host).python
    except ProvisionError as error:
        pytest.skip(f"{NO_RAY}: {str(error).splitlines()[-1]}")
    done = subprocess.run([python, str(CHILD), host.comfy], capture_output=True, text=True, timeout=580, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=[*TOKENS, *CONDS, *BOTH])
def run(request, answer):
    return answer["runs"][request.param]


def choices(lanes):
    return [[(step, reused) for step, reused, _ in lane] for lane in lanes]


def errors(lanes):
    return [error for lane in lanes for _, _, error in lane if error is not None]


def test_all_ranks_decide_alike(run):
    assert all(lanes == run["ranks"][0] for lanes in run["ranks"])


def test_they_decide_as_one_rank_does_alone(run):
    ours, alone = run["ranks"][0], run["alone"]
    assert choices(ours) == choices(alone)
    assert errors(ours) == pytest.approx(errors(alone), rel=1e-3, abs=1e-6)


def test_the_runs_skip_some_and_compute_some(run):
    reused = {reused for lane in run["ranks"][0] for _, reused, _ in lane}
    assert reused == {True, False}


def test_the_picture_is_that_of_one_rank(run):
    assert run["equal"], "the ranks have different pictures"
    assert run["difference"] < ROUNDING


def test_every_run_was_on_as_many_ranks_as_its_name_says(answer):
    assert {name: len(run["ranks"]) for name, run in answer["runs"].items()} == {
        **dict.fromkeys((name for name in TOKENS if "4" in name), 4),
        **dict.fromkeys((name for name in TOKENS if "4" not in name), 2),
        **dict.fromkeys(CONDS, 2),
        **dict.fromkeys(BOTH, 4),
    }


@pytest.mark.parametrize("name", SINGLE_RULE)
def test_a_rule_of_blocks_measures_over_all_tokens(answer, name):
    """The measured change is the same number on every rank, which holds other tokens than the others."""
    assert len(errors(answer["runs"][name]["ranks"][0])) > 0


def test_statistics_are_those_of_rank_0(run):
    (cells,) = run["cells"]
    reused = {step for lane in run["ranks"][0] for step, reused, _ in lane if reused}
    assert {i for i, cell in enumerate(cells) if cell in "rm"} == reused
    assert json.loads(run["report"])["runs"][0]["cells"] == cells
    assert run["seconds"][0] >= len(cells)


def test_a_preset_of_blocks_gives_way_where_conds_are_split_and_the_log_says_so(answer):
    told = answer["runs"]["conds over 2, preset of blocks"]["log"]
    assert any("published" in line and "balanced is used" in line and "2 ranks" in line for line in told), told
    others = [line for name in (*TOKENS, *BOTH) for line in answer["runs"][name]["log"]]
    assert not [line for line in others if "is used" in line]


def test_what_cannot_work_is_refused_in_one_sentence(answer):
    for asked in ("policy", "threshold"):
        assert "conds are split over 2 ranks" in answer["refused"][asked]
        assert "balanced" in answer["refused"][asked]
    assert "probe_depth is 99" in answer["refused"]["probe depth"]  # found by a rank, which has the model
    assert "Traceback" not in "".join(answer["refused"].values())


def test_an_actor_that_dies_ends_the_run_with_an_error(answer):
    assert answer["dead"]["errors"]
    assert answer["dead"]["seconds"] < 60


def test_an_actor_that_is_stuck_ends_the_run_with_an_error(answer):
    """It stops for 40 seconds, the other one waits for 4."""
    assert answer["stuck"]["errors"]
    assert answer["stuck"]["seconds"] < 35
