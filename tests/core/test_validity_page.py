"""docs/validity.md is made from what was measured and published, and what disagrees stands first."""

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tools" / "bench"))
import bench  # noqa: E402
import validity  # noqa: E402


def bits(*computed: int) -> str:
    return "".join("0" if step in computed else "1" for step in range(validity.STEPS))


def row(size: str = "12x12", **decibels: float) -> dict:
    """Of the tiny Flux, whose real one has fewer steps 15.6, SeaCache 26.3 and TeaCache 20.8."""
    methods = dict.fromkeys(validity.POLICIES)
    methods |= {name: {"calls": 25.0, "psnr": value} for name, value in decibels.items()}
    plan = {str(count): dict.fromkeys(validity.EARLY, 5.0) for count in validity.COUNTS}
    return {"model": "flux", "size": size, "sampler": "euler", "images": "8-15", "methods": methods, "plan": plan}


def test_fewer_steps_disagree_where_one_size_is_far_from_the_real_figure():
    text = "Half the steps without a cache: FLUX.1-dev keeps 15.6 dB, the tiny Flux"
    far, near = row(fewer_steps=40.0), row("24x24", fewer_steps=18.0)
    assert list(validity.of_half([far, near])) == [(True, f"{text} 40.0 at 12x12 and 18.0 at 24x24.")]
    assert list(validity.of_half([near])) == [(False, f"{text} 18.0 at 24x24.")]


def test_a_pair_of_methods_is_turned_round_only_where_it_is_so_at_every_size():
    here = row(fewer_steps=35.0, seacache=34.0, teacache=33.0)
    ((differs, text),) = validity.of_order([here, row("24x24", fewer_steps=30.0, seacache=31.0, teacache=29.0)])
    assert differs
    assert "1 of 3 clear pairs are turned round at every size. Real and not here: TeaCache over fewer steps." in text
    ((differs, text),) = validity.of_order([row(fewer_steps=20.0, seacache=34.0, teacache=33.0)])
    assert not differs
    assert text.endswith("0 of 3 clear pairs are turned round at every size.")


def test_of_two_orders_the_better_one_counts():
    assert validity.known(row(taylorseer_1=30.0, taylorseer_2=33.0)) == {"TaylorSeer": 33.0}


def test_where_the_forecast_method_is_not_first_is_named():
    told = validity.own_place([row(forecast=30.0, meancache=31.5), row("24x24", forecast=33.0, meancache=31.5)])
    assert told.splitlines() == [
        "On the tiny models the forecast method is first in 1 of 2 cells.",
        "",
        "- Flux 12x12, euler: 1.5 dB behind MeanCache",
    ]


def test_plans_searched_for_what_the_method_does_agree_and_those_for_reuse_do_not():
    told = {text.split("`")[1]: differs for differs, text in validity.of_plans()}
    assert told["dpcache"] is False
    assert set(told) == set(validity.PLANNED_FOR)


def test_a_plan_searched_here_says_whether_rebuilding_or_the_model_is_more():
    real = next(p for p in validity.real_plans() if (p.model, p.method, len(p.computed)) == ("flux", "budcache", 13))
    place = {"model": "flux", "size": "12x12", "count": 13, "pooled_psnr": 30.0, "own_pooled_psnr": 28.0, "images": 24}
    reuse, forecast = place | {"rebuild": "reuse"}, place | {"rebuild": "forecast", "bits": bits(*range(20, 33))}
    ((differs, text),) = validity.of_searched([reuse | {"bits": bits(*real.computed)}, forecast])
    assert not differs
    assert text.endswith("and 0.0 from the real one for reuse (`budcache`). More is the way of rebuilding.")
    ((differs, text),) = validity.of_searched([reuse | {"bits": bits(*range(20, 33))}, forecast])
    assert differs
    assert "0.0 steps from one for forecasts" in text
    assert text.endswith("More is the model.")
    assert list(validity.of_searched([reuse | {"bits": bits(*range(13))}])) == [], "nothing to compare it with"


def test_early_calls_by_hand():
    assert validity.of((0, 1, 9, 10, 19, 20, 40, 49)) == {"first 10": 3, "first 20": 5, "last 10": 2}


def test_the_tables_show_searched_plans_where_they_are():
    searched = {"model": "flux", "size": "12x12", "rebuild": "reuse", "count": 13, "images": 24}
    searched |= {"bits": bits(*range(13)), "pooled_psnr": 30.0, "own_pooled_psnr": 28.0}
    assert "| 10, 13, 0 (30.0 dB, own plan 28.0) |" in validity.tiny_table([row()], [searched])
    assert "dB" not in validity.tiny_table([row()], [])


def test_every_published_figure_is_of_a_model_of_the_testbed_and_says_what_it_is_of():
    figures = validity.published()
    assert {figure.model for figure in figures} <= set(validity.LARGER)
    assert all(figure.checkpoint and figure.method and 10 < figure.psnr < 40 for figure in figures)
    assert {figure.name for figure in figures} >= {name for name in validity.METHODS if name != "DiCache"}


def test_one_method_measured_again_takes_its_own_place_alone():
    old = [row(forecast=30.0, magcache=28.0), row("24x24", forecast=31.0)]
    new = row() | {"methods": {"forecast": {"calls": 25.0, "psnr": 33.0}}}
    first, second = validity.joined(old, [new])
    assert (first["methods"]["forecast"]["psnr"], first["methods"]["magcache"]["psnr"]) == (33.0, 28.0)
    assert second == old[1]


def test_what_was_not_measured_is_named():
    one = row(fewer_steps=30.0, forecast=40.0)
    del one["methods"]["magcache"]
    told = validity.markdown([one]).splitlines()[0]
    assert told.startswith("**Not measured yet**: Flux 24x24, HunyuanVideo 3x8x8, ")
    assert told.endswith("U-Net 12x12, Flux 12x12 `magcache`.")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (validity.PAGE, lambda rows: validity.markdown(rows, validity.rows_in(validity.SEARCHED))),
        (bench.README, validity.line_of),
    ],
    ids=["validity", "readme"],
)
def test_pages_say_what_the_script_makes_of_its_inputs(page, text):
    found = page.read_text(encoding="utf-8")
    told = text(validity.rows_in(validity.FILE))
    assert bench.written(found, "validity", told) == found, 'run make bench-validity ARGS="--page"'
