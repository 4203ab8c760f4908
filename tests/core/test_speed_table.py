"""The tables of docs/numbers.md are made from what benchmark and demo wrote, and by nobody's hand."""

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tools" / "bench"))
import bench  # noqa: E402
import numbers_page as numbers  # noqa: E402

FIELDS = {"architecture", "shape", "tokens", "probe_share", "outside_share", "calls", "decision_ms", "peers"}
PAGE = numbers.PAGE.read_text(encoding="utf-8")


def between_markers(name: str) -> str:
    return PAGE.split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0].strip()


def test_the_page_says_what_the_results_say():
    assert between_markers("speed") == numbers.markdown(numbers.speeds())
    assert between_markers("calls") == numbers.calls_markdown(bench.results("calls.json"))
    assert between_markers("demo") == numbers.demo_markdown(bench.results("demo.json"))


# On models of a twelfth of the real width, where 57 blocks of Python count for more than they do at full width.
NOT_MET = {
    "run, paper, above EasyCache's",
}


def test_results_have_every_field_and_keep_the_bounds():
    for result in numbers.speeds():
        assert not result["quick"], "a quick run is no measurement"
        assert numbers.disturbed(result) == []
        assert [r["architecture"] for r in result["architectures"]] == ["flux", "wan", "sdxl"]
        for record in result["architectures"]:
            assert set(record) >= FIELDS
            assert set(record["peers"]) == set(numbers.TITLES)
            assert len({p["skipped"] for name, p in record["peers"].items() if name != "baseline"}) == 1
            assert record["calls"][0]["call_ms"]["median"] >= 100 or record["dtype"] == "bfloat16"
            for costs in record["calls"]:
                paper = costs["methods"]["dicache"]
                assert paper["bytes_held"] <= paper["bytes_expected"]
        over = {name.partition(": ")[2] for name, found, allowed in numbers.bounds(result) if found > allowed}
        assert over <= NOT_MET, "docs/numbers.md says which are not met"


def test_a_measured_result_becomes_a_table():
    """Of a made-up result, as none may be committed yet."""
    spread = {"median": 1.0, "low": 0.9, "high": 1.1}
    method = dict.fromkeys(("computed_over_call", "skipped_over_call", "skipped_over_host"), spread) | {"bytes_held": 1}
    methods = dict.fromkeys(numbers.METHODS, method)
    costs = {"load": "guided", "call_ms": spread, "host_over_call": spread, "methods": methods}
    peer = {
        "over_baseline": spread,
        "above_easycache": spread,
        "skipped": 6,
        "steps": 10,
        "peak_bytes": 2,
        "bytes_held": 1,
    }
    record = {
        "architecture": "flux", "shape": "Flux", "tokens": 4, "dtype": "float32", "probe_share": 0.1,
        "outside_share": 0.1, "calls": [costs, costs], "decision_ms": dict.fromkeys(methods, spread),
        "peers": dict.fromkeys(numbers.TITLES, peer),
        "growth": {
            "tokens": [{"tokens": 4, "call_ms": spread, "methods": methods}],
            "batch": [{"batch": 2, "call_ms": spread, "methods": methods}],
            "steps": [{"steps": 20, "skipped": 14, "over_baseline": dict.fromkeys(methods, 0.3)}],
        },
    }  # fmt: skip
    run = {"skipped": 15, "over_baseline": spread, "least_share": 0.1, "over_ideal": 1.0}
    tiny = {"steps": 30, "methods": dict.fromkeys(methods, run), "allowed": 1.1}
    result = {"device": "CPU", "torch": "2", "host": "0.30.0", "architectures": [record], "testbed": tiny}
    page = numbers.markdown([result])
    assert "| flux, guided (positive and negative together) | 1 ms | +0.0% (-10.0 to +10.0)" in page
    assert "14 of 20: 0.30, 0.30" in page
    over = {name for name, found, allowed in numbers.bounds(result) if found > allowed}
    assert over == {
        "flux: skipped step, paper",
        "flux: skipped step, forecast, beyond the host's part",
        "flux: run, paper, above EasyCache's",
        "flux: run, forecast, above EasyCache's",
    }
    assert numbers.disturbed(result) == []
    record["peers"]["easycache"] = peer | {"over_baseline": spread | {"median": 0.38}}
    assert numbers.disturbed(result) == ["flux"]


def test_the_table_replaces_what_is_between_the_markers_and_nothing_else():
    readme = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter"
    assert bench.written(readme, "x", "new \\1") == "before\n<!-- x:begin -->\nnew \\1\n<!-- x:end -->\nafter"
    assert bench.written(bench.written(readme, "x", "a"), "x", "b") == bench.written(readme, "x", "b")
    with pytest.raises(ValueError, match="write them where the table belongs"):
        bench.written("no markers", "x", "new")


def test_a_skipped_step_has_one_name():
    for page in (PAGE, bench.README.read_text(encoding="utf-8")):
        assert "reused" not in page
