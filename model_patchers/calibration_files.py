"""Curves of the calibrated methods, as files of the host's user directory: JSON and nothing else, by plain names."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from comfy.model_patcher import ModelPatcher

from ..dicache_core import Calibration, RunStatistics
from ..dicache_core.calibration import calibration_of, recording_config
from .attach import attach
from .compare import Sampling
from .files import PLAIN_NAME, check_writable, read_text, user_folder, write_text


def check_calibration_name(name: str) -> None:
    """Raise a ``ValueError`` for what is not a plain name: it becomes part of a file's path."""
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"calibration is {name!r}: write a plain name of letters, digits, - and _, such as flux_30")


def saved_curves() -> list[str]:
    """The names of the curves that ``DiCache Calibrate`` saved, in order."""
    return sorted(p.stem for p in user_folder().glob("*.json") if PLAIN_NAME.fullmatch(p.stem) and p.is_file())


def load_calibration(name: str) -> Calibration:
    """The curve that ``DiCache Calibrate`` saved under this name."""
    path = _path(name)
    if not path.is_file():
        known = ", ".join(saved_curves()) or "none"
        raise ValueError(f"no calibration {name!r} in {path.parent} (found: {known}). Run DiCache Calibrate first.")
    return Calibration.from_json(read_text(path))


def calibration_fingerprint(name: str) -> str:
    """Another text whenever the file of that name has another content; empty where there is none yet."""
    path = _path(name)
    return sha256(read_text(path).encode()).hexdigest() if path.is_file() else ""


def calibrate(model: ModelPatcher, sampling: Sampling, name: str) -> Calibration:
    """Sample once in full, and save how the stack's residual and the velocity went."""
    path = _path(name)
    check_writable(path)
    runs: list[RunStatistics] = []
    sampling.run(attach(model, recording_config(), runs=runs))
    if runs[0].compiler == "forecast":
        raise ValueError(
            "calibrating looks at the model's blocks, and the Comfy Compiler cannot be switched off here: "
            "start ComfyUI without it"
        )
    calibration = calibration_of(runs[0])
    write_text(path, calibration.to_json())
    return calibration


def _path(name: str) -> Path:
    check_calibration_name(name)
    return user_folder() / f"{name}.json"
