"""What the demo promises: with nothing set on the node each testbed model is close and computes half of its steps."""

import statistics
import sys
from dataclasses import replace

import pytest
from demo_graph import APPLY
from layout import REPO
from testbed.conditioning import SHAPES

sys.path.extend([str(REPO / "tools" / "demo"), str(REPO / "tools" / "bench")])
import demo
import numbers_page as numbers
from bench import results
from sampling import AT_THE_SAME_COUNT, BALANCED, WITHOUT, all_ways, graph_for

pytestmark = pytest.mark.one_host

LEAST_PSNR, LEAST_SPEEDUP = 30.0, 1.7
DISTILLED = {"flux_reflow", "flux_lcm"}  # for few steps, where no half of them can be skipped


def test_the_demo_shows_every_model_of_the_testbed_with_the_guidance_it_was_trained_for():
    shown = {name: shape.cfg for name, shape in SHAPES.items() if name not in DISTILLED}
    assert {name: show.cfg for name, show in demo.SHOWS.items()} == shown


def test_balanced_is_the_node_with_nothing_set():
    graph = graph_for("flux", "", demo.SHOWS["flux"], BALANCED, seed=0)
    assert set(graph[APPLY]["inputs"]) == {"model"}


@pytest.mark.parametrize("architecture", demo.SHOWS)
def test_the_default_is_close_at_half_of_the_steps(server, architecture):
    show = demo.SHOWS[architecture]
    short = replace(show, ways=(WITHOUT, BALANCED), rounds=1)
    _, balanced = all_ways(server, architecture, show.captions[0], short, seed=0)
    assert balanced.computed <= show.steps / 2 + 1
    assert balanced.computed + balanced.skipped == show.steps
    assert balanced.psnr >= LEAST_PSNR


@pytest.mark.parametrize("architecture", demo.SHOWS)
def test_what_the_page_says_keeps_the_promise(architecture):
    report = results("demo.json")
    without, balanced = (numbers.demo_runs(report, architecture, way) for way in (WITHOUT, BALANCED))
    assert min(run["psnr"] for run in balanced) >= LEAST_PSNR
    assert numbers.demo_speedup(without, balanced) >= LEAST_SPEEDUP


def test_emoji_are_compared_at_the_same_number_of_computed_steps():
    report = results("demo.json")
    runs = {way: numbers.demo_runs(report, numbers.EMOJI, way) for way in AT_THE_SAME_COUNT}
    steps = {way: statistics.fmean(run["computed"] for run in of_way) for way, of_way in runs.items()}
    full = steps.pop(WITHOUT)
    assert steps == dict.fromkeys(steps, pytest.approx(full / 2, abs=0.5))
