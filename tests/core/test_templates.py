"""The templates are files that the front end wrote: only what it saves as null is null in them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FILES = sorted([*(REPO / "example_workflows").glob("*.json"), *(REPO / "tools" / "demo" / "workflows").glob("*.json")])
# An input without a link, an output with none. Everything else that is null was `undefined` in the front end, which
# JSON leaves out; from frontend 1.58 on, what is copied from a graph with such nulls cannot be pasted.
UNLINKED = {"link", "links"}


def nulls(value: object, path: str = "") -> Iterator[str]:
    """Where ``value`` holds null."""
    if isinstance(value, dict):
        for key, part in value.items():
            if part is None and key not in UNLINKED:
                yield f"{path}.{key}"
            yield from nulls(part, f"{path}.{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from nulls(part, f"{path}[{number}]")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_is_null_that_the_front_end_leaves_out(file):
    found = list(nulls(json.loads(file.read_text(encoding="utf-8"))))
    assert not found, f"run tests/web/make_workflows.py: {len(found)} nulls, such as {found[0]}"


def test_there_are_templates():
    assert FILES
