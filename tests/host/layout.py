"""The folder that a test's or demo's ComfyUI uses as its --base-directory."""

import shutil
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tests"))
from testbed.packing import all_unpacked  # noqa: E402

PACK = "ComfyUI-DiCache"
TESTBED = "dicache-testbed"
RAYLIGHT = "raylight"  # a stand-in, see tests/host/raylight_stand_in
LEFT_OUT = (".git", "output", ".cache", "__pycache__", ".pytest_cache", ".ruff_cache", "node_modules")


def base_directory(folder: Path, pack: Path = REPO) -> Path:
    """Fill ``folder`` so that ComfyUI finds a pack, the testbed's nodes and its checkpoints in it."""
    for name in ("custom_nodes", "models", "input", "output", "temp", "user"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _link_or_copy(pack, folder / "custom_nodes" / PACK)
    _link_or_copy(REPO / "tests" / "testbed", folder / "custom_nodes" / TESTBED)
    _link_or_copy(REPO / "tests" / "host" / "raylight_stand_in", folder / "custom_nodes" / RAYLIGHT)
    _link_or_copy(all_unpacked(), folder / "models" / "diffusion_models")
    return folder


def _link_or_copy(source: Path, target: Path) -> None:
    """A link where the system allows it (Windows asks for a privilege), else a copy."""
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
