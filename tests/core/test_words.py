"""What users read is in the words that they know, in sentences of a length that is read once.

Read are the pages, the help, what the nodes say, the strip, the report, errors, logs and the notes of the templates.
Left out are comments, docstrings and ids.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

REPO = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *(REPO / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md")),
        *(REPO / "docs").glob("*.md"),
        *(REPO / "web" / "docs").glob("*/en.md"),
    ]
)
MOST_WORDS = 18  # of a sentence, in the mean of a page
RETIRED = (
    r"own presets?", r"own polic\w+", r"this pack'?s own", r"the pack'?s own", r"foreseen", r"made good", r"put right",
    r"puts right", r"forecasts off", r"pictures?", r"not surely", r"what was tried to break it",
    r"whatever the preset",
)  # fmt: skip
# What is no sentence for people: ids of policies, reasons and outputs, and a name of the old world in a table of keys.
IDS = {"forecasts off", "pictures", "picture"}
CODE = re.compile(r"`[^`]*`")
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1[ ]*$", re.MULTILINE | re.DOTALL)


def literals(file: Path) -> Iterator[str]:
    """The texts of a module that are neither documentation nor an id: with a space, and not one of ``IDS``."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and _documents(node)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in docs else None
        if isinstance(text, str) and " " in text.strip() and text not in IDS:
            yield text


def _documents(node: ast.AST) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def script_texts(file: Path) -> Iterator[str]:
    """The strings of a script of the front end, without what is put into them."""
    code = re.sub(r"(?m:^\s*//[^\n]*)|(?s:/\*.*?\*/)", "", file.read_text(encoding="utf-8"))
    yield from re.findall(r'"([^"\n]*)"', code)
    yield from (re.sub(r"\$\{.*?\}", "", text) for text in re.findall(r"`([^`]*)`", code))


def notes() -> Iterator[tuple[str, str]]:
    for template in sorted((REPO / "example_workflows").glob("*.json")):
        for node in json.loads(template.read_text(encoding="utf-8"))["nodes"]:
            if node["type"] == "MarkdownNote":
                yield template.name, node["widgets_values"][0]


def texts() -> Iterator[tuple[str, str]]:
    """(where, text) of everything in English."""
    for page in PAGES:
        yield page.relative_to(REPO).as_posix(), _without_code(page.read_text(encoding="utf-8"))
    for folder in (".", "dicache_core", "model_patchers", "dicache_nodes"):
        for file in sorted((REPO / folder).rglob("*.py") if folder != "." else REPO.glob("*.py")):
            yield from ((file.relative_to(REPO).as_posix(), text) for text in literals(file))
    for file in sorted((REPO / "web").glob("*.js")):
        yield from ((f"web/{file.name}", text) for text in script_texts(file) if text not in IDS)
    for file in [*sorted((REPO / "locales" / "en").glob("*.json")), REPO / "web" / "strings" / "en.json"]:
        yield file.relative_to(REPO).as_posix(), _values(json.loads(file.read_text(encoding="utf-8")))
    yield from ((name, _without_code(note)) for name, note in notes())
    yield "pyproject.toml", (REPO / "pyproject.toml").read_text(encoding="utf-8")


def _values(tree: object) -> str:
    return "\n".join(map(_values, tree.values())) if isinstance(tree, dict) else str(tree)


def _without_code(page: str) -> str:
    """Without code, ids in italics, addresses, and what a script has drawn."""
    plain = re.sub(r"\]\([^)]*\)", "]", CODE.sub("", FENCE.sub("", page)))
    return re.sub(r"(?<!\*)\*[a-z_0-9]+\*(?!\*)", "", plain)


def sentences(page: str) -> list[str]:
    """Of a page: without tables, headings, images and code; an item of a list ends a sentence."""
    plain = re.sub(r"<!--.*?-->", "", FENCE.sub("", page), flags=re.DOTALL)
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", CODE.sub("X", plain)).replace("**", "").replace("*", "")
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", plain):
        lines = [line for line in paragraph.splitlines() if not line.lstrip().startswith(("|", "#"))]
        for item in re.split(r"^\s*(?:[-*]|\d+\.)\s+", "\n".join(lines), flags=re.MULTILINE):
            found += re.split(r"(?<=[.!?])[\"')]*\s+(?=[\"'(A-Z0-9-])", " ".join(item.split()))
    return [sentence for sentence in found if len(words(sentence)) > 1]


def words(sentence: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9][\w'’.%/-]*", sentence)


def test_no_text_has_a_word_of_the_house():
    found = [
        (where, match.group(), text[max(0, match.start() - 40) : match.end() + 40])
        for where, text in texts()
        for word in RETIRED
        for match in re.finditer(rf"\b{word}\b", text, re.IGNORECASE)
    ]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_sentences_are_short(page):
    found = sentences(page.read_text(encoding="utf-8"))
    assert fmean(len(words(sentence)) for sentence in found) <= MOST_WORDS, max(found, key=lambda s: len(words(s)))


def test_readme_is_short_and_begins_with_how_to_install_and_to_try_it():
    page = (REPO / "README.md").read_text(encoding="utf-8")
    visible = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"<!--.*?-->", "", page))
    assert len(re.findall(r"[^\s|]*\w[^\s|]*", visible)) <= 900
    first_screen, _, _ = page.partition("\n## What it does")
    for command in ("ComfyUI Manager", "comfy node install", "git clone --depth 1", "make demo", "make test"):
        assert command in first_screen
    assert "![" not in first_screen
    assert len(first_screen.splitlines()) <= 30


def test_what_the_checks_find():
    """Toys: a sentence, a list, a table, code."""
    page = "# A heading\n\nOne two. Three four five?\n\n- six seven\n- eight `nine ten` eleven\n\n| a | b c |\n"
    assert list(map(len, map(words, sentences(page)))) == [2, 3, 2, 3]
    assert "foreseen" not in _without_code("The policy `foreseen`, or *foreseen*.")
    assert list(script_texts(REPO / "web" / "labels.js"))
