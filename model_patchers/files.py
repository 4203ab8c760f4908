"""The pack's files in the host's user directory: small texts, each of them written whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

import folder_paths

from ..dicache_core.calibration import LARGEST_FILE

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of what users name: it becomes part of a file's path


def user_folder() -> Path:
    """Where the pack keeps its files."""
    return Path(folder_paths.get_user_directory()) / "dicache"


def read_text(path: Path) -> str:
    """A file's text, at most one character more than a file of this pack may have.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace") as file:  # bytes that are no text: no JSON, as its reader says
        return file.read(LARGEST_FILE + 1)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, whoever else writes it at the same time.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        with beside.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(beside, path)  # closed by now: Windows replaces no file by an open one
    finally:
        beside.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise a ``ValueError`` where a file cannot be written: before a long run, whose result would be lost."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = _beside(path)
        beside.touch(exist_ok=False)
        beside.unlink()
    except OSError as error:
        raise ValueError(f"{path.parent} cannot be written: {error.strerror}. Make it writable for ComfyUI.") from None


def _beside(path: Path) -> Path:
    """A name that no other writer of that file has; ``tempfile`` would hide the file from other users."""
    return path.with_name(f"{path.name}.{uuid4().hex}.part")
