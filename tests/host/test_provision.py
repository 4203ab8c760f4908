"""Finding and keeping a ComfyUI; nothing is downloaded here."""

import re
import subprocess
import sys
from pathlib import Path

import provision
import pytest

pytestmark = pytest.mark.one_host


@pytest.fixture
def fake_comfy(tmp_path):
    (tmp_path / "main.py").touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "9.9.9"\n')
    return tmp_path


def test_named_comfyui_wins(monkeypatch, fake_comfy):
    monkeypatch.setenv("COMFYUI_PATH", str(fake_comfy))
    assert provision.find_user_comfy() == fake_comfy
    assert provision.comfy_version(fake_comfy) == "9.9.9"


def test_wrong_path_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(provision.ProvisionError, match=r"main\.py"):
        provision.provision()


def test_pack_inside_custom_nodes_uses_that_comfyui(monkeypatch, fake_comfy):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(provision, "REPO", fake_comfy / "custom_nodes" / "ComfyUI-DiCache")
    assert provision.find_user_comfy() == fake_comfy


def test_unknown_version_lists_the_known_ones():
    with pytest.raises(provision.ProvisionError, match=r"0\.16\.3.*0\.30\.0"):
        provision.provision("0.1.2")


def test_ci_runs_the_newest_and_the_oldest():
    order = sorted(provision.HOSTS, key=lambda version: [int(n) for n in version.split(".")])
    assert [order[0], order[-1]] == [provision.OLDEST, provision.NEWEST]
    workflow = provision.REPO / ".github" / "workflows" / "test.yml"
    if not workflow.is_file():
        pytest.skip("the published archive has no CI")
    assert set(re.findall(r'host: "([\d.]+)"', workflow.read_text(encoding="utf-8"))) == {order[0], order[-1]}


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DICACHE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert provision.cache_root() == tmp_path / "comfyui-dicache"
    monkeypatch.setenv("DICACHE_CACHE", str(tmp_path / "own"))
    assert provision.cache_root() == tmp_path / "own"


def test_environment_sees_the_shared_packages_and_is_made_once(monkeypatch, tmp_path):
    monkeypatch.setenv("DICACHE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "seen_from_outside.py").write_text("ANSWER = 42\n")

    def make() -> Path:
        return provision._environment("toy", [], [str(tmp_path / "shared")], "a toy")

    python = make()
    answer = subprocess.run(
        [python, "-c", "import seen_from_outside as s; print(s.ANSWER)"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "42"
    stamp = python.parents[1] / provision.STAMP
    made = stamp.stat().st_mtime_ns
    assert make() == python
    assert stamp.stat().st_mtime_ns == made, "it was made again"
    stamp.unlink()
    half_done = python.parents[1] / "half_done"
    half_done.touch()
    make()
    assert not half_done.exists(), "what an interrupted installation left must go"


def test_started_processes_keep_their_bytecode(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environment = provision.environment_for(provision.Host("0.30.0", "python", "/comfy"))
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert environment["DICACHE_TEST_COMFY"] == "/comfy"


def test_failing_command_shows_its_output():
    with pytest.raises(provision.ProvisionError, match="the reason"):
        provision._run([sys.executable, "-c", "import sys; print('the reason'); sys.exit(3)"])
