"""What would be published: small, complete, the same bytes each time, and it loads in an empty ComfyUI."""

import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from archive import REPO, build, published_files
from layout import PACK

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

MEBIBYTE = 2**20
LOAD = """
import sys, asyncio
sys.path.insert(0, {comfy!r})
import utils.extra_config  # as main.py does: nodes.py puts "comfy" on the path, whose utils.py would hide the package
import comfy.cli_args
comfy.cli_args.args.cpu = True
comfy.cli_args.args.base_directory = {base!r}
import server, nodes
loop = asyncio.new_event_loop()
server.PromptServer(loop)
assert loop.run_until_complete(nodes.load_custom_node({folder!r})), "not loaded"
print(sorted(name for name in nodes.NODE_CLASS_MAPPINGS if name.startswith("DiCache")))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    if not (REPO / ".git").exists():
        pytest.skip("no git checkout: nothing tells which files belong to the pack")
    return build(tmp_path_factory.mktemp("archive") / "pack.zip")


def test_is_under_a_mebibyte(archive):
    assert archive.stat().st_size < MEBIBYTE


def test_two_builds_are_the_same_bytes(archive, tmp_path):
    assert build(tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_holds_the_pack_and_leaves_the_workshop_out(archive):
    names = set(published_files())
    needed = {"__init__.py", "nodes.py", "LICENSE", "README.md", "pyproject.toml", "requirements.txt"}
    assert needed <= names
    assert {"dicache_core", "model_patchers", "web", "locales", "example_workflows"} <= {n.split("/")[0] for n in names}
    assert not {n for n in names if n.split("/")[0] in ("tests", "bench", "demo", "output", ".github", ".ci")}


def test_installs_into_an_empty_comfyui_and_loads(archive, host, tmp_path):
    folder = tmp_path / "custom_nodes" / PACK
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    code = LOAD.format(comfy=host.comfy, base=str(tmp_path), folder=str(folder))
    done = subprocess.run([host.python, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = done.stdout.splitlines()[-1]
    assert "'DiCacheApply'" in loaded
    assert "DiCacheApplyRay" not in loaded, "there is no raylight here"


def test_registry_metadata_is_complete():
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))
    comfy = project["tool"]["comfy"]
    assert all(comfy[field] for field in ("PublisherId", "DisplayName", "Icon", "Banner", "requires-comfyui"))
    for field, shape in (("Icon", 1), ("Banner", 21 / 9)):
        file = REPO / comfy[field].partition("/main/")[2]
        width, height = struct.unpack(">II", file.read_bytes()[16:24])  # a PNG's header
        assert width / height == pytest.approx(shape), field
        assert file.stat().st_size < MEBIBYTE
    assert [int(part) for part in project["project"]["version"].split(".")] >= [0, 1, 0]
    assert project["project"]["urls"]["Repository"].startswith("https://github.com/")
    wanted = [line for line in (REPO / "requirements.txt").read_text("utf-8").splitlines() if line[:1] not in ("", "#")]
    assert project["project"]["dependencies"] == wanted


def test_the_registry_takes_the_name_and_the_changelog_has_the_version():
    """https://docs.comfy.org/registry/specifications: the name is also that of the folder that it is installed in."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    assert re.fullmatch(r"[a-z](?:[._-]?[a-z0-9])*", project["name"])
    assert len(project["name"]) < 100
    assert "comfyui" not in project["name"].lower()
    (newest, *_) = re.findall(r"^## (\S+)", (REPO / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest == project["version"]
