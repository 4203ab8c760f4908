"""What was tuned, one JSON file for each model in the host's user directory: found again, listed and deleted."""

from __future__ import annotations

import logging
import os
import re
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import folder_paths
from comfy.model_patcher import ModelPatcher

from ..dicache_core import (
    DEFAULT_PRESET,
    LARGEST_FILE,
    NOT_TUNED,
    TUNED_PRESET,
    Choice,
    Remembered,
    TunedSettings,
    display_name,
    resolve,
)
from .fingerprint import fingerprint
from .registry import architecture_of

NOTHING = "Nothing is remembered."

log = logging.getLogger("dicache")


def remembered(model: ModelPatcher) -> Remembered:
    """What is remembered of a model, whatever its file is called; a ``ValueError`` where it cannot be read."""
    nothing = Remembered(architecture_of(model), fingerprint(model))
    path = _path(nothing)
    if not path.is_file():
        return nothing
    found = _read(path)
    if (found.architecture, found.fingerprint) != (nothing.architecture, nothing.fingerprint):
        raise ValueError(
            f"{path} was tuned with another model ({display_name(found.architecture)} {found.fingerprint[:8]}): "
            "delete the file, or run DiCache Tune again"
        )
    return found


def remember(model: ModelPatcher, choice: Choice) -> Path:
    """Keep a choice for a model; the file it went to.  A file that cannot be read is replaced."""
    try:
        known = remembered(model)
    except ValueError as error:
        log.warning("DiCache: %s. It is replaced now.", error)
        known = Remembered(architecture_of(model), fingerprint(model))
    path = _path(known)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")  # so that whatever ends the writing leaves the old file or the new one
    beside.write_text(known.with_choice(choice).to_json(), encoding="utf-8", newline="\n")
    os.replace(beside, path)
    return path


def recalled(model: ModelPatcher, **typed: Any) -> TunedSettings:
    """What the preset ``tuned`` samples a model with, and the numbers that the user typed, as ``resolve`` takes them.

    Raises a ``ValueError`` where nothing was tuned for it.
    """
    settings = partial(resolve, architecture_of(model), **typed)
    known = remembered(model)
    if not known.choices:
        raise ValueError(NOT_TUNED.format(display_name(known.architecture)))
    configs = {choice: settings(TUNED_PRESET, tuned=choice.made()) for choice in known.choices}
    return TunedSettings(known, settings(DEFAULT_PRESET), configs)


def listing() -> str:
    """Everything that is remembered, a line per choice; files that cannot be read are named too."""
    lines = [_described(path) for path in _files()]
    return "\n".join(filter(None, lines)) or NOTHING


def forget(model: ModelPatcher) -> str:
    """Delete what is remembered of a model; what was done, in words."""
    path = _path(Remembered(architecture_of(model), fingerprint(model)))
    if not path.is_file():
        return f"Nothing is remembered of this {display_name(architecture_of(model))} model."
    path.unlink()
    return f"Forgotten: {path.name}"


def forget_all() -> str:
    """Delete everything that is remembered; what was done, in words."""
    names = [path.name for path in _files()]
    for path in _files():
        path.unlink()
    return "\n".join(f"Forgotten: {name}" for name in names) or NOTHING


def memory_state() -> str:
    """Another text whenever something else is remembered, of whatever model."""
    digest = sha256()
    for path in _files():
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _described(path: Path) -> str:
    try:
        return _read(path).describe()
    except ValueError as error:
        return f"Cannot be read: {error}"


def _read(path: Path) -> Remembered:
    with path.open(encoding="utf-8", errors="replace") as file:  # bytes that are no text: no JSON, as is said
        text = file.read(LARGEST_FILE + 1)
    try:
        return Remembered.from_json(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _files() -> list[Path]:
    return sorted(path for path in _folder().glob("*.json") if path.is_file())


def _folder() -> Path:
    return Path(folder_paths.get_user_directory()) / "dicache" / "tuned"


def _path(model: Remembered) -> Path:
    name = re.sub(r"[^A-Za-z0-9_]", "_", model.architecture)
    return _folder() / f"{name}-{model.fingerprint[:16]}.json"
