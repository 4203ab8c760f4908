"""The archive that the registry would publish: tracked files that ``.comfyignore`` leaves, the same bytes each time.

``python3 tests/host/run.py --script tests/host/archive.py [FILE.zip]``.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import pathspec

REPO = Path(__file__).resolve().parents[2]
SAME_MOMENT = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can hold


def published_files() -> list[str]:
    """Tracked files that are part of the pack, sorted."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True)
    left_out = pathspec.PathSpec.from_lines("gitwildmatch", (REPO / ".comfyignore").read_text("utf-8").splitlines())
    return sorted(name for name in listed.stdout.splitlines() if not left_out.match_file(name))


def build(target: Path) -> Path:
    """Write the archive to ``target``."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in published_files():
            entry = zipfile.ZipInfo(name, SAME_MOMENT)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (REPO / name).read_bytes(), compresslevel=9)
    return target


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "comfyui-dicache.zip")))
