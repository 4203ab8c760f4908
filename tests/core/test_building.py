"""docs/building.md: its examples fit the checkout and take few files; ``host/test_building.py`` runs them."""

import shutil

import pytest
from core.building import EXAMPLES, MOST_FILES, PAGE, Block, example

REPO = PAGE.parents[1]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_the_checkout_and_takes_few_files(name, tmp_path):
    blocks = example(name)
    files = {block.file for block in blocks}
    assert 0 < len(files) <= MOST_FILES[name]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        if (REPO / file).exists():
            shutil.copyfile(REPO / file, tmp_path / file)
    for block in blocks:
        block.add_to(tmp_path)


def test_what_does_not_fit_is_told(tmp_path):
    (tmp_path / "a.py").write_text("one\none\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.py has 2 times"):
        Block("a.py", hunks=(("one\n", "one\ntwo\n"),)).add_to(tmp_path)
    with pytest.raises(ValueError, match="is there already"):
        Block("a.py", text="x").add_to(tmp_path)
