"""The tables of docs/numbers.md are made from what benchmark and demo wrote, and by nobody's hand."""

import json
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "bench"))
import tables  # noqa: E402

FIELDS = {
    "architecture",
    "device",
    "step_ms",
    "computed_ms",
    "reused_ms",
    "probe_share",
    "bytes_held",
    "peak_bytes",
    "peers",
}
PAGE = tables.NUMBERS.read_text(encoding="utf-8")


def between_markers(name: str) -> str:
    return PAGE.split(f"<!-- {name}:begin -->")[1].split(f"<!-- {name}:end -->")[0].strip()


def test_the_page_says_what_the_results_say():
    assert between_markers("speed") == tables.markdown(tables.results())
    assert between_markers("demo") == tables.demo_markdown(json.loads(tables.DEMO.read_text(encoding="utf-8")))


def test_results_have_every_field_and_keep_the_bounds():
    for result in tables.results():
        assert not result["quick"], "a quick run is no measurement"
        assert [r["architecture"] for r in result["architectures"]] == ["flux", "hunyuan_video", "wan"]
        for record in result["architectures"]:
            assert set(record) >= FIELDS
            assert set(record["peers"]) == set(tables.TITLES)
            assert len({p["skipped"] for name, p in record["peers"].items() if name != "baseline"}) == 1
            assert record["step_ms"]["median"] >= 100 or record["dtype"] == "bfloat16"
            assert record["bytes_held"] <= record["bytes_expected"]
        over = [(name, measured, allowed) for name, measured, allowed in tables.bounds(result) if measured > allowed]
        assert not over


def test_the_table_replaces_what_is_between_the_markers_and_nothing_else():
    readme = "before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter"
    assert tables.written(readme, "x", "new \\1") == "before\n<!-- x:begin -->\nnew \\1\n<!-- x:end -->\nafter"
    assert tables.written(tables.written(readme, "x", "a"), "x", "b") == tables.written(readme, "x", "b")
    with pytest.raises(ValueError, match="write them where the table belongs"):
        tables.written("no markers", "x", "new")


def test_a_skipped_step_has_one_name():
    for page in (PAGE, tables.README.read_text(encoding="utf-8")):
        assert "reused" not in page
