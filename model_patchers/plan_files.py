"""Plans as files: exported from what is remembered, imported for any model of the same architecture."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from comfy.model_patcher import ModelPatcher

from ..dicache_core import display_name
from ..dicache_core.tuning.shared_plan import SharedPlan
from .files import PLAIN_NAME, read_text, user_folder, write_text
from .registry import architecture_of
from .tuned_files import remember, remembered

OF_THE_PACK = Path(__file__).parents[1] / "plans"
FOUND_WITH = "DiCache Tune"


def check_plan_name(name: str) -> None:
    """Raise a ``ValueError`` for what is not a plain name: it becomes part of a file's path."""
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"plan_name is {name!r:.80}: write a plain name of letters, digits, - and _, such as my_flux")


def export_plan(model: ModelPatcher, name: str) -> str:
    """Write the plan that was found last for a model; where it is, and the file's text.

    Raises:
        ValueError: none is remembered, or what is cannot be read.
        OSError: the file cannot be written.
    """
    check_plan_name(name)
    known = remembered(model)
    found = [choice for choice in known.choices if choice.plan]
    if not found:
        raise ValueError(
            f"no plan is remembered for this {display_name(known.architecture)} model: run DiCache Tune with it first. "
            "It saves a plan only if that is closer than the default one"
        )
    shared = SharedPlan(known.architecture, FOUND_WITH, found[-1])
    path = _user_folder() / f"{name}.json"
    write_text(path, shared.to_json())
    return f"Exported: {path}\n{shared.to_json()}"


def import_plan(model: ModelPatcher, name: str, node_id: str | None = None) -> str:
    """Remember a plan of the user's folder, or else of the pack's, for a model; what was done, in words.

    Raises:
        ValueError: there is no such file, it cannot be read, or it is for another architecture.
        OSError: what is remembered cannot be written.
    """
    shared = load_plan(name)
    remember(model, shared.for_model(architecture_of(model)), node_id)
    return f"Imported: {shared.label}.\nSet the preset of DiCache Apply to tuned."


def load_plan(name: str) -> SharedPlan:
    """The plan under this name.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    check_plan_name(name)
    path = next((path for path in _paths() if path.stem == name), None)
    if path is None:
        known = ", ".join(dict.fromkeys(path.stem for path in _paths())) or "none"
        raise ValueError(f"no plan {name!r} in {_user_folder()} or in this pack (found: {known}). Put its file there")
    try:
        return SharedPlan.from_json(read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def plans_listing(model: ModelPatcher) -> str:
    """A line for each plan that fits a model, by its name; files that cannot be read are named too."""
    lines = []
    for path in _paths():
        try:
            shared = SharedPlan.from_json(read_text(path))
        except (OSError, ValueError) as error:
            lines.append(f"Cannot be read: {path}: {error}")
            continue
        if shared.architecture == architecture_of(model):
            lines.append(f"Can be imported: {path.stem} ({shared.label})")
    return "\n".join(lines)


def plans_digest() -> str:
    """Another text whenever there are other plans."""
    digest = sha256()
    for path in _paths():
        digest.update(f"{path}\n{path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _paths() -> list[Path]:
    """Files with a plain name, the user's first."""
    folders = (_user_folder(), OF_THE_PACK)
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    return [path for path in found if PLAIN_NAME.fullmatch(path.stem) and path.is_file()]


def _user_folder() -> Path:
    return user_folder() / "plans"
