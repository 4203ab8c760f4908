"""DiCache Apply (Ray) over real Ray: two and four actors on the CPU, each with the real ComfyUI and a testbed model."""

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest
from provision import NO_RAY, ProvisionError, with_ray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
SMALL = ("tokens over 2", "conds over 2")  # as in ray_child.py, which only a Python with Ray can import
CHILD = Path(__file__).with_name("ray_child.py")
ROUNDING = 1e-4  # of the latent's largest value; twelve steps in float32, with sums in another order
TOKENS = ["tokens over 2", "tokens over 4", "uneven tokens over 2", "uneven tokens over 4", "tokens over 2, balanced"]
PARTS = ["tokens over 2, blocks by a plan"]
CONDS = ["conds over 2", "conds over 2, by a measure", "conds over 2, Flux", "conds over 2, preset of blocks"]
BOTH = ["tokens over 2, conds over 2", "tokens over 2, conds over 2, by a measure"]
SINGLE_RULE = ["tokens over 2", "tokens over 4", "uneven tokens over 2", "uneven tokens over 4"]


@pytest.fixture(scope="module")
def answers(host):
    """``answers("small" | "rest")``: what a part of the runs gave, each part started once."""
    try:
        python = with_ray(host).python
    except ProvisionError as error:
        pytest.skip(f"{NO_RAY}: {str(error).splitlines()[-1]}")

    @cache  # a run that failed, too: each test would start it again
    def done_with(part):
        command = [python, str(CHILD), host.comfy, part]
        return subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)

    def answer(part):
        done = done_with(part)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return answer


@pytest.fixture
def rest(answers):
    return answers("rest")


@pytest.fixture(params=[*TOKENS, *PARTS, *CONDS, *BOTH])
def run(request, answers):
    return answers("small" if request.param in SMALL else "rest")["runs"][request.param]


def choices(decided):
    return [[(step, reused) for step, reused, _ in sample] for sample in decided]


def errors(decided):
    return [error for sample in decided for _, _, error in sample if error is not None]


def test_all_ranks_decide_alike(run):
    assert all(decided == run["ranks"][0] for decided in run["ranks"])


def test_they_decide_as_one_rank_does_alone(run):
    ours, alone = run["ranks"][0], run["alone"]
    assert choices(ours) == choices(alone)
    assert errors(ours) == pytest.approx(errors(alone), rel=1e-3, abs=1e-6)


def test_the_runs_skip_some_and_compute_some(run):
    reused = {reused for sample in run["ranks"][0] for _, reused, _ in sample}
    assert reused == {True, False}


def test_the_picture_is_that_of_one_rank(run):
    assert run["equal"], "the ranks have different pictures"
    assert run["difference"] < ROUNDING


def test_every_run_was_on_as_many_ranks_as_its_name_says(run, request):
    name = request.node.callspec.params["run"]
    assert len(run["ranks"]) == (4 if "over 4" in name or name in BOTH else 2)


@pytest.mark.parametrize("run", SINGLE_RULE, indirect=True)
def test_a_rule_of_blocks_measures_over_all_tokens(run):
    """The measured change is the same number on every rank, which holds other tokens than the others."""
    assert len(errors(run["ranks"][0])) > 0


def test_statistics_are_those_of_rank_0(run):
    (cells,) = run["cells"]
    reused = {step for sample in run["ranks"][0] for step, reused, _ in sample if reused}
    assert {i for i, cell in enumerate(cells) if cell in "rmp"} == reused
    assert json.loads(run["report"])["runs"][0]["cells"] == cells
    assert run["seconds"][0] >= len(cells)


def test_a_preset_of_blocks_gives_way_where_conds_are_split_and_the_log_says_so(rest):
    told = rest["runs"]["conds over 2, preset of blocks"]["log"]
    assert any("published" in line and "balanced is used" in line and "2 ranks" in line for line in told), told
    others = [line for name in (*TOKENS, *PARTS, *BOTH) if name not in SMALL for line in rest["runs"][name]["log"]]
    assert not [line for line in others if "is used" in line]


def test_what_cannot_work_is_refused_in_one_sentence(rest):
    for asked in ("policy", "threshold"):
        assert "positive and negative are split over 2 ranks" in rest["refused"][asked]
        assert "balanced" in rest["refused"][asked]
    assert "probe_depth is 99" in rest["refused"]["probe depth"]  # found by a rank, which has the model
    assert "Traceback" not in "".join(rest["refused"].values())


def test_an_actor_that_dies_ends_the_run_with_an_error(rest):
    assert rest["dead"]["errors"]
    assert rest["dead"]["seconds"] < 60


def test_an_actor_that_is_stuck_ends_the_run_with_an_error(rest):
    """It stops for 40 seconds, the other one waits for 4."""
    assert rest["stuck"]["errors"]
    assert rest["stuck"]["seconds"] < 35
