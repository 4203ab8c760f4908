"""What would be published: small, complete, the same bytes each time, and it works in an empty ComfyUI."""

import json
import re
import struct
import subprocess
import sys
import urllib.parse
import zipfile
from pathlib import Path

import pytest
from archive import COMFY_CLI, REPO, build, checkout, comfy_node, published_files
from comfy_server import CELLS, ComfyServer
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

print("as in an older one", file=sys.stderr, flush=True)
import comfyui_version
comfyui_version.__version__ = "0.16.2"
for name in [name for name in sys.modules if {folder!r} in name or name.startswith("comfy_api")]:
    del sys.modules[name]
sys.modules["comfy_api.latest"] = None
assert not loop.run_until_complete(nodes.load_custom_node({folder!r})), "loaded without what it needs"
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    if not (REPO / ".git").exists():
        pytest.skip("no git checkout: nothing tells which files belong to the pack")
    return build(tmp_path_factory.mktemp("archive") / "pack.zip")


@pytest.fixture(scope="module")
def packed(archive, tmp_path_factory) -> Path:
    """What the registry's own tool packs, unpacked as Manager does it."""
    source = checkout(tmp_path_factory.mktemp("packed") / "checkout")
    comfy_node("pack", source)
    with zipfile.ZipFile(source / "node.zip") as zipped:
        zipped.extractall(source.parent / "unpacked")
    return source.parent / "unpacked"


@pytest.fixture(scope="module")
def installed(host, packed):
    """The server of a ComfyUI that the packed archive was installed in."""
    with ComfyServer(host, pack=packed, cells=CELLS) as server:
        yield server


def test_no_checkpoint_and_no_picture_of_the_docs_has_come_along(archive):
    assert archive.stat().st_size < 2 * MEBIBYTE


def test_two_builds_are_the_same_bytes(archive, tmp_path):
    assert build(tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_holds_the_pack_and_leaves_the_workshop_out(archive):
    names = set(published_files())
    needed = {"__init__.py", "nodes.py", "LICENSE", "README.md", "pyproject.toml", "requirements.txt"}
    assert needed <= names
    assert {"dicache_core", "dicache_nodes", "model_patchers", "web", "locales", "example_workflows"} <= {
        n.split("/")[0] for n in names
    }
    workshop = ("tests", "tools", "docs", "output", ".github", ".ci", ".gitignore", "Makefile")
    assert not {n for n in names if n.split("/")[0] in workshop}
    for folder in ("web", "locales", "example_workflows"):  # all of them: help pages lie in a folder docs, too
        shown = {path.relative_to(REPO).as_posix() for path in (REPO / folder).rglob("*") if path.is_file()}
        assert shown - names == set()


def test_the_registrys_tool_packs_the_same(packed):
    assert {file.relative_to(packed).as_posix() for file in packed.rglob("*") if file.is_file()} == {*published_files()}
    assert [name for name in published_files() if (packed / name).read_bytes() != (REPO / name).read_bytes()] == []


def test_the_registrys_tool_has_nothing_to_say_against_it(archive, tmp_path):
    said = comfy_node("validate", checkout(tmp_path / "checkout"))
    assert "passed" in said
    assert "warning" not in said.lower(), said


def test_it_is_published_with_the_tool_that_is_tested():
    workflow = REPO / ".github" / "workflows" / "publish.yml"
    if not workflow.is_file():
        pytest.skip("the published archive has no CI")
    assert re.findall(r"comfy-cli==\S+", workflow.read_text("utf-8")) == [COMFY_CLI]


def test_an_installed_pack_has_its_help_pages(installed):
    nodes = json.loads(installed.get("/object_info"))
    ours = {name for name, node in nodes.items() if node["python_module"] == f"custom_nodes.{PACK}"}
    assert {"DiCacheApply", "DiCacheReport", "DiCacheCompare", "DiCacheTuning"} <= ours
    languages = sorted(path.name for path in (REPO / "locales").iterdir())
    for page in [f"{node}{part}.md" for node in ours for part in ("", *(f"/{language}" for language in languages))]:
        assert installed.get(f"/extensions/{PACK}/docs/{page}") == (REPO / "web" / "docs" / page).read_bytes(), page
    assert installed.get(f"/extensions/{PACK}/docs/strip.png").startswith(b"\x89PNG")


def test_an_installed_pack_has_its_templates_and_translations(installed):
    names = sorted(path.stem for path in (REPO / "example_workflows").glob("*.json"))
    assert sorted(json.loads(installed.get("/workflow_templates"))[PACK]) == names
    for file in [f"{name}.{kind}" for name in names for kind in ("json", "jpg")]:
        wanted = (REPO / "example_workflows" / file).read_bytes()
        assert installed.get(f"/api/workflow_templates/{PACK}/{urllib.parse.quote(file)}") == wanted, file
    translated = json.loads(installed.get("/i18n"))
    for language in (REPO / "locales").iterdir():
        assert translated[language.name]["nodeDefs"]["DiCacheApply"]["display_name"], language.name


@pytest.fixture(scope="module")
def loaded(archive, host, tmp_path_factory) -> subprocess.CompletedProcess:
    """An empty ComfyUI that loads the archive, and once more as a version that is too old for it."""
    base = tmp_path_factory.mktemp("empty")
    folder = base / "custom_nodes" / PACK
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    code = LOAD.format(comfy=host.comfy, base=str(base), folder=str(folder))
    done = subprocess.run([host.python, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def test_installs_into_an_empty_comfyui_and_loads(loaded):
    nodes = loaded.stdout.splitlines()[-1]
    assert "'DiCacheApply'" in nodes
    assert "DiCacheApplyRay" not in nodes, "there is no raylight here"


def test_an_older_comfyui_is_told_in_one_line_before_what_fails_there(loaded):
    needed, older = loaded.stderr.split("as in an older one")
    assert "or newer, this one is" not in needed
    said = [line for line in older.splitlines() if "needs ComfyUI 0.16.3 or newer, this one is 0.16.2" in line]
    assert len(said) == 1, older
    assert older.index(said[0]) < older.index("Traceback")


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
