"""What the pack's code does not do at all: no network, no processes, no pickle, no code from text."""

import ast
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FOLDERS = ("dicache_core", "model_patchers", "reporting")
PACK = [*REPO.glob("*.py"), *[file for folder in FOLDERS for file in (REPO / folder).rglob("*.py")]]
MODULES = {
    "aiohttp", "asyncio", "cloudpickle", "ctypes", "dill", "ftplib", "http", "httpx", "joblib", "marshal",
    "multiprocessing", "pickle", "pip", "requests", "runpy", "shelve", "smtplib", "socket", "ssl", "subprocess",
    "urllib", "webbrowser", "xmlrpc",
}  # fmt: skip
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
METHODS = {("torch", "load"), ("torch", "save"), ("os", "system"), ("os", "popen"), ("np", "load"), ("numpy", "load")}
WRITES = {
    "write_text",
    "write_bytes",
    "mkdir",
    "makedirs",
    "unlink",
    "remove",
    "rename",
    "touch",
    "rmdir",
    "symlink_to",
}
WRITERS = {
    "model_patchers/curves.py": {"mkdir", "write_text"},  # DiCache Calibrate, into the user directory
    "model_patchers/tuned.py": {"mkdir", "unlink", "write_text"},  # DiCache Tune, the same
}


def found(file: Path) -> set[str]:
    bad = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            bad |= {a.name for a in node.names if a.name.split(".")[0] in MODULES}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in MODULES:
            bad.add(node.module)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            bad.add(node.func.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            bad |= {".".join(m) for m in METHODS & {(node.value.id, node.attr)}}
    return bad


@pytest.mark.parametrize("file", PACK, ids=lambda f: f.relative_to(REPO).as_posix())
def test_none_of_it(file):
    assert found(file) == set()


def test_only_known_places_write():
    writing = {}
    for file in PACK:
        tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if names := {n.attr for n in tree if isinstance(n, ast.Attribute)} & WRITES:
            writing[file.relative_to(REPO).as_posix()] = names
    assert writing == WRITERS


@pytest.mark.parametrize("line", ["import pickle", "from urllib import request", "exec('1')", "torch.load('x')"])
def test_the_search_finds_them(tmp_path, line):
    (tmp_path / "bad.py").write_text(line, encoding="utf-8")
    assert found(tmp_path / "bad.py")
