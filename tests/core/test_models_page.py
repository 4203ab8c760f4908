"""The table of models is made from what the tests showed, and by nobody's hand; ``make models`` makes it anew."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "bench"))
import models_table
from bench import results


def test_page_says_what_the_tests_showed():
    page = models_table.PAGE.read_text(encoding="utf-8")
    between = page.split("<!-- models:begin -->")[1].split("<!-- models:end -->")[0].strip()
    assert between == models_table.markdown(results("families.json"))


def test_every_family_was_shown_and_enough_of_them_in_the_real_sampler():
    families = results("families.json")["families"]
    assert [row["name"] for row in families if not row["toy"]] == ["Qwen-Image 2.1"], (
        "no whole ComfyUI with it is to be had"
    )
    assert sum(row["sampled"] > 0 for row in families) >= 12
