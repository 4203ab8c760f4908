"""The archive that the registry would publish: tracked files that ``.comfyignore`` leaves, the same bytes each time.

``python3 tests/host/run.py --script tests/host/archive.py [FILE.zip]``.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pathspec
from provision import tool

COMFY_CLI = "comfy-cli==1.23.0"  # the registry's own tool, as .github/workflows/publish.yml installs it
REPO = Path(__file__).resolve().parents[2]
SAME_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold


def published_files() -> list[str]:
    """Tracked files that are part of the pack, sorted."""
    left_out = pathspec.PathSpec.from_lines("gitwildmatch", (REPO / ".comfyignore").read_text("utf-8").splitlines())
    return sorted(name for name in _git("ls-files").splitlines() if not left_out.match_file(name))


def build(target: Path) -> Path:
    """Write the archive to ``target``."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in published_files():
            entry = zipfile.ZipInfo(name, SAME_MOMENT)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (REPO / name).read_bytes(), compresslevel=9)
    return target


def checkout(target: Path) -> Path:
    """A copy of the tracked files as they are now, for tools that write beside them; no repository of its own."""
    for name in _git("ls-files").splitlines():
        if (REPO / name).is_file():  # not one that is deleted and not committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPO / name, target / name)
    return target


def comfy_node(command: str, folder: Path) -> str:
    """``comfy node pack`` or ``validate`` in a :func:`checkout`: what it said; it reports home to nobody."""
    python = tool(COMFY_CLI)
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    home = dict.fromkeys(("HOME", "USERPROFILE", "XDG_CONFIG_HOME"), str(folder.parent))  # it writes a file of settings
    git = {"GIT_DIR": _git("rev-parse", "--absolute-git-dir").strip(), "GIT_WORK_TREE": str(folder)}
    environment = {**os.environ, **nowhere, **home, **git, "DO_NOT_TRACK": "1", "COMFY_NO_TELEMETRY": "1"}
    done = subprocess.run(
        [python, "-m", "comfy_cli", "--skip-prompt", "node", command],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", errors="replace", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=REPO, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "comfyui-dicache.zip")))
