"""What the pack's code does not do at all: no network, no processes, no pickle, no code from text."""

import ast
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
FOLDERS = ("dicache_core", "dicache_nodes", "model_patchers")
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
    "model_patchers/files.py": {"mkdir", "touch", "unlink"},  # DiCache Calibrate and Tune, into the user directory
    "model_patchers/tuned_files.py": {"unlink"},  # what DiCache Tune forgets
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


def test_none_of_it():
    assert {file: bad for file in PACK if (bad := found(file))} == {}


def test_only_known_places_write():
    writing = {}
    for file in PACK:
        tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if names := {n.attr for n in tree if isinstance(n, ast.Attribute)} & WRITES:
            writing[file.relative_to(REPO).as_posix()] = names
    assert writing == WRITERS


def test_every_kind_of_file_that_is_written_is_named():
    """Previews are the host's to write; who asks for them is named too."""
    previewing = {
        file.relative_to(REPO).as_posix() for file in PACK if "PreviewImage(" in file.read_text(encoding="utf-8")
    }
    assert previewing == {"dicache_nodes/compare.py", "dicache_nodes/tune.py"}
    for page in ("SECURITY.md", "docs/trust.md"):
        text = (REPO / page).read_text(encoding="utf-8")
        for kind in ("user/dicache/", "user/dicache/tuned/", "previews", "temporary folder"):
            assert kind in text, f"{kind} in {page}"


def test_the_search_finds_them(tmp_path):
    for line in ("import pickle", "from urllib import request", "exec('1')", "torch.load('x')"):
        (tmp_path / "bad.py").write_text(line, encoding="utf-8")
        assert found(tmp_path / "bad.py"), line
