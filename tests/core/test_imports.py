"""Imports run one way: nodes -> model_patchers -> dicache_core -> torch."""

import ast
import sys
from pathlib import Path

from dicache_core.names import NAMES

REPO = Path(__file__).resolve().parents[2]
NODES = [REPO / "nodes.py", *(f for f in (REPO / "dicache_nodes").glob("*.py") if f.name != "__init__.py")]
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


def foreign(file: Path) -> set[str]:
    """What it imports that is neither the pack's nor Python's own."""
    return {name for name in imported(file) if not name.startswith(".")} - STANDARD


def test_core_knows_torch_and_nothing_of_the_host():
    for file in files("dicache_core"):
        assert foreign(file) <= {"torch"}, file
        depth = len(file.relative_to(REPO / "dicache_core").parts)
        outside = {name for name in imported(file) if name.startswith("." * (depth + 1))}
        assert not outside, f"{file} imports from outside the core"


def test_adapters_know_the_host_and_the_core_but_no_nodes():
    host = {"comfy", "comfy_execution", "comfy_extras", "server", "nodes", "folder_paths"}
    also = {"ray_actors.py": {"raylight"}, "generators.py": {"numpy"}}  # whose generators it puts back
    for file in files("model_patchers"):
        assert foreign(file) <= {"torch", *host, *also.get(file.name, ())}, file
        assert not {"..nodes", "..dicache_nodes"} & imported(file), file


def test_drawing_knows_the_core_and_no_host():
    for file in files("dicache_nodes/rendering"):
        assert foreign(file) <= {"torch", "numpy", "PIL", "matplotlib", "kornia"}, file
        assert imported(file) & {"...nodes", "...model_patchers"} == set(), file


def test_nodes_do_not_touch_the_host_directly():
    for file in NODES:
        assert foreign(file) == {"comfy_api"}, file


def test_adapters_have_no_file_per_family():
    """A family is a row of ``families.py``; U-Nets are the one other kind of network."""
    assert {file.stem for file in files("model_patchers")} & set(NAMES) == {"unet"}
