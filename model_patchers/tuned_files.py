"""What was tuned, one JSON file for each model in the host's user directory: found again, listed and deleted."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from comfy.model_patcher import ModelPatcher

from ..dicache_core import DEFAULT_PRESET, Choice, RunContext, TunedSettings, display_name, resolve
from ..dicache_core.presets import TUNED_PRESET
from ..dicache_core.tuning.store import AGAIN, TunedModel
from .files import read_text, user_folder, write_text
from .fingerprint import fingerprint
from .registry import architecture_of

NOTHING = "Nothing is remembered."
NAME = re.compile(r"[A-Za-z0-9_]+-[0-9a-f]{16}\.json")  # as ``_path`` makes it: the folder may hold others' files

# What the nodes of this process have kept, by node, and how often some of that was found to be gone.
_kept: defaultdict[str | None, set[tuple[Path, RunContext]]] = defaultdict(set)
_losses: Counter[str | None] = Counter()

log = logging.getLogger("dicache")


def remembered(model: ModelPatcher) -> TunedModel:
    """What is remembered of a model, whatever its file is called.

    Raises:
        ValueError: it cannot be read.
    """
    nothing = TunedModel(architecture_of(model), fingerprint(model))
    path = _path(nothing)
    try:
        found = _read(path)
    except FileNotFoundError:
        return nothing
    if (found.architecture, found.fingerprint) != (nothing.architecture, nothing.fingerprint):
        raise ValueError(
            f"{path} belongs to another model ({display_name(found.architecture)} {found.fingerprint[:8]}): {AGAIN}"
        )
    return found


def remember(model: ModelPatcher, choice: Choice, node_id: str | None = None) -> Path:
    """Keep a choice for a model, that a node found; the file it went to.

    A file that cannot be read is replaced.

    Raises:
        OSError: it cannot be written.
    """
    try:
        known = remembered(model)
    except ValueError as error:
        log.warning("DiCache: %s. It is replaced.", error)
        known = TunedModel(architecture_of(model), fingerprint(model))
    path = _path(known)
    write_text(path, known.with_choice(choice).to_json())
    _kept[node_id].add((path, choice.context))
    return path


def load_tuned(model: ModelPatcher, **typed: Any) -> TunedSettings:
    """What the preset ``tuned`` samples a model with, and the numbers that the user typed, as ``resolve`` takes them.

    Raises:
        ValueError: what was tuned for it cannot be read.
    """
    settings = partial(resolve, architecture_of(model), **typed)
    known = remembered(model)
    configs = {choice: settings(TUNED_PRESET, tuned=choice.made()) for choice in known.choices}
    return TunedSettings(known, settings(DEFAULT_PRESET), configs)


def listing() -> str:
    """Everything that is remembered, a line per choice; files that cannot be read are named too."""
    lines = [_described(path) for path in _files()]
    return "\n".join(filter(None, lines)) or NOTHING


def forget(model: ModelPatcher) -> str:
    """Delete what is remembered of a model; what was done, in words."""
    path = _path(TunedModel(architecture_of(model), fingerprint(model)))
    if not path.is_file():
        return f"Nothing is remembered for this {display_name(architecture_of(model))} model."
    path.unlink()
    return f"Forgotten: {path.name}"


def forget_all() -> str:
    """Delete everything that is remembered; what was done, in words."""
    names = [path.name for path in _files()]
    for path in _files():
        path.unlink()
    return "\n".join(f"Forgotten: {name}" for name in names) or NOTHING


def tuned_digest() -> str:
    """Another text whenever something else is remembered, of whatever model."""
    digest = sha256()
    for path in _files():
        try:
            text = read_text(path)
        except OSError as error:
            text = f"{error}"
        digest.update(f"{path.name}\n{text}".encode())
    return digest.hexdigest()


def tuning_state(node_id: str | None) -> str:
    """Another text once a choice that this node has kept is gone: then tuning again is not what ComfyUI has cached."""
    gone = {(path, context) for path, context in _kept[node_id] if not _is_kept(path, context)}
    if gone:
        _kept[node_id] -= gone
        _losses[node_id] += 1
    return str(_losses[node_id])


def _is_kept(path: Path, context: RunContext) -> bool:
    try:
        return _read(path).find(context) is not None
    except (FileNotFoundError, ValueError):
        return False


def _described(path: Path) -> str:
    try:
        return _read(path).describe()
    except ValueError as error:
        return f"Cannot be read: {error}"


def _read(path: Path) -> TunedModel:
    """A file's choices; ``FileNotFoundError`` where there is none, a ``ValueError`` where it cannot be read."""
    try:
        return TunedModel.from_json(read_text(path))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path}: it cannot be opened ({error.strerror}): {AGAIN}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _files() -> list[Path]:
    """The files that ``remember`` may have written."""
    return sorted(path for path in _folder().glob("*.json") if NAME.fullmatch(path.name) and path.is_file())


def _folder() -> Path:
    return user_folder() / "tuned"


def _path(model: TunedModel) -> Path:
    name = re.sub(r"[^A-Za-z0-9_]", "_", model.architecture)
    return _folder() / f"{name}-{model.fingerprint[:16]}.json"
