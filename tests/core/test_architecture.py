"""No import goes in a circle, also for type checking, and no class of the core uses another's private names."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dicache_core

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("dicache_core", "model_patchers", "dicache_nodes")
NAMEDTUPLE = {"_replace", "_asdict"}  # public by its documentation


def module_of(file: Path, root: Path = REPO) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(files: dict[str, Path]) -> dict[str, set[str]]:
    """Per module the modules among ``files`` that it names in an import, wherever that stands.

    A package counts for what its ``__init__`` defines: importing a module of it is no import of the package.
    """
    found: dict[str, set[str]] = {}
    for module, file in files.items():
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        named: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                named |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in files else base for alias in node.names}
        found[module] = {name for name in named if name in files and name != module}
    return found


def circles(graph: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """Groups of modules that reach each other, each sorted."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - found
            found |= new
            ahead += new
        return found

    reach = {module: reached(module) for module in graph}
    return {tuple(sorted({m for m in reach[n] if n in reach[m]})) for n in graph if n in reach[n]}


def private_uses(tree: ast.AST) -> Iterator[str]:
    """Private attributes of anything but ``self``, ``cls`` and ``super()``, and private names of other modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in NAMEDTUPLE:
            if ast.unparse(node.value) not in ("self", "cls", "super()"):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom):
            yield from (f"line {node.lineno}: imports {alias.name}" for alias in node.names if private(alias.name))


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_no_import_goes_in_a_circle():
    files = {module_of(file): file for package in PACKAGES for file in (REPO / package).rglob("*.py")}
    graph = imports(files)
    assert sum(map(len, graph.values())) > len(graph)
    assert circles(graph) == set()


def test_no_private_name_of_another_is_used_in_the_core():
    found = {
        f"{file.relative_to(REPO)}: {use}"
        for file in (REPO / "dicache_core").rglob("*.py")
        for use in private_uses(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert not found


def test_the_core_exports_what_several_files_of_the_hosts_side_use():
    """What one file needs, and what tests need, is imported from its module."""
    users = [file for package in ("model_patchers", "dicache_nodes") for file in (REPO / package).rglob("*.py")]
    used = Counter(
        alias.name
        for file in users
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level and node.module == "dicache_core"
        for alias in node.names
    )
    assert set(used) == set(dicache_core.__all__)
    assert {name for name, times in used.items() if times < 2} == set()


def test_a_circle_and_a_private_name_are_found(tmp_path):
    texts = {
        "a/__init__.py": "",
        "a/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import C\n",
        "a/c.py": "from . import d\n",
        "a/d.py": "def later():\n    from a.b import B\n",
        "a/e.py": "from .b import B\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    graph = imports({module_of(file, tmp_path): file for file in tmp_path.rglob("*.py")})
    assert circles(graph) == {("a.b", "a.c", "a.d")}
    code = "from .x import _y\nself._a\ncls._b\nsuper()._c\nother._d\nkey._replace()\nself.e._f\nx.__class__\n"
    assert list(private_uses(ast.parse(code))) == ["line 1: imports _y", "line 5: other._d", "line 7: self.e._f"]
