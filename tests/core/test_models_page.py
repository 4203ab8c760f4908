"""The table of models is made from what the tests showed, and by nobody's hand; ``make models`` makes it anew."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
import models_table


def test_page_says_what_the_tests_showed():
    page = models_table.PAGE.read_text(encoding="utf-8")
    between = page.split("<!-- models:begin -->")[1].split("<!-- models:end -->")[0].strip()
    assert between == models_table.markdown(models_table.shown())


def test_every_family_was_shown_and_enough_of_them_in_the_real_sampler():
    families = models_table.shown()["families"]
    assert all(row["toy"] > 0 for row in families)
    assert sum(row["sampled"] > 0 for row in families) >= 12
