"""Imports run one way: nodes -> model_patchers -> dicache_core -> torch."""

import ast
import sys
from pathlib import Path
from statistics import median

import pytest

from dicache_core.names import NAMES

REPO = Path(__file__).resolve().parents[2]
NODES = sorted(REPO.glob("nodes*.py"))
STANDARD = set(sys.stdlib_module_names)


def imported(file: Path) -> set[str]:
    """Top-level names of absolute imports, and relative ones with their dots."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or "").split(".")[0] if node.level else node.module.split(".")[0])
    return names


def files(folder: str) -> list[Path]:
    found = sorted((REPO / folder).rglob("*.py"))
    assert found, f"no Python files in {folder}"
    return found


@pytest.mark.parametrize("file", files("dicache_core"), ids=lambda f: f.name)
def test_core_knows_torch_and_nothing_of_the_host(file):
    foreign = {n for n in imported(file) if not n.startswith(".")} - STANDARD - {"torch"}
    assert not foreign
    depth = len(file.relative_to(REPO / "dicache_core").parts)
    assert not {n for n in imported(file) if n.startswith("." * (depth + 1))}, "imports from outside the core"


@pytest.mark.parametrize("file", files("model_patchers"), ids=lambda f: f.name)
def test_adapters_know_the_host_and_the_core_but_no_nodes(file):
    foreign = {n for n in imported(file) if not n.startswith(".")} - STANDARD
    host = {"comfy", "comfy_execution", "comfy_extras", "server", "nodes", "folder_paths"}
    assert foreign <= {"torch", *host, *({"raylight"} if file.name == "ray_actors.py" else ())}
    assert "..nodes" not in imported(file)


@pytest.mark.parametrize("file", files("reporting"), ids=lambda f: f.name)
def test_drawing_knows_the_core_and_no_host(file):
    foreign = {n for n in imported(file) if not n.startswith(".")} - STANDARD
    assert foreign <= {"torch", "numpy", "PIL", "matplotlib", "kornia"}
    assert imported(file) & {"..nodes", "..model_patchers"} == set()


@pytest.mark.parametrize("file", NODES, ids=lambda f: f.name)
def test_nodes_do_not_touch_the_host_directly(file):
    foreign = {n for n in imported(file) if not n.startswith(".")} - STANDARD
    assert foreign == {"comfy_api"}


@pytest.mark.parametrize(
    "file", [*files("dicache_core"), *files("model_patchers"), *files("reporting"), *NODES], ids=lambda f: f.name
)
def test_files_are_small(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 350


def test_adapters_have_no_file_per_family():
    """A family is a row of ``families.py``; U-Nets are the one other kind of network."""
    found = files("model_patchers")
    assert {f.stem for f in found} & set(NAMES) == {"unet"}
    assert median(len(f.read_text(encoding="utf-8").splitlines()) for f in found) < 120
