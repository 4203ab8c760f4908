"""On a ComfyUI older than the required one the pack says so, once and before anything else."""

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def host_version() -> ModuleType:
    """The pack's file without the pack, whose entry needs a ComfyUI."""
    spec = spec_from_file_location("host_version_alone", REPO / "host_version.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def said(host_version, monkeypatch, caplog, version: str | None) -> list[str]:
    """The lines for a stand-in of ComfyUI's own file; ``None``: it has no such file."""
    stand_in = None  # what makes Python say that there is no such module
    if version is not None:
        stand_in = ModuleType("comfyui_version")
        stand_in.__version__ = version
    monkeypatch.setitem(sys.modules, "comfyui_version", stand_in)
    host_version.say_if_older()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("version", ["0.3.75", "0.16.2", "0.2", "0.15.1-rc.1"])
def test_an_older_one_is_named_in_one_line(host_version, monkeypatch, caplog, version):
    (line,) = said(host_version, monkeypatch, caplog, version)
    assert f"needs ComfyUI {host_version.OLDEST} or newer, this one is {version}" in line
    assert "\n" not in line


def test_one_that_is_too_old_to_say_its_version(host_version, monkeypatch, caplog):
    (line,) = said(host_version, monkeypatch, caplog, None)
    assert "this one is without a version" in line


@pytest.mark.parametrize("version", ["0.16.3", "0.16.10", "0.30.0", "0.46.0", "1.0.0", "v0.33.0"])
def test_a_newer_one_is_fine(host_version, monkeypatch, caplog, version):
    assert said(host_version, monkeypatch, caplog, version) == []


def test_it_says_so_before_the_nodes_are_imported():
    """Their imports are what fails in an older one."""
    lines = (REPO / "__init__.py").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("say_if_older()"))
    assert [line for line in lines[:first] if line.startswith(("import", "from"))] == [
        "from .host_version import say_if_older"
    ]


def test_the_required_version_is_the_same_wherever_it_stands(host_version):
    oldest = host_version.OLDEST
    for file, pattern in (
        ("pyproject.toml", r'requires-comfyui = ">=([\d.]+)"'),
        ("README.md", r"Needs ComfyUI ([\d.]+) or newer"),
        ("tests/host/provision.py", r'OLDEST = "[\d.]+", "([\d.]+)"'),
    ):
        assert re.findall(pattern, (REPO / file).read_text(encoding="utf-8")) == [oldest], file
