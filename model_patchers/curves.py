"""Curves of the calibrated methods, as files of the host's user directory: JSON and nothing else, by plain names."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import folder_paths
from comfy.model_patcher import ModelPatcher

from ..dicache_core import LARGEST_FILE, Curve, RunStatistics, calibration, curve_of
from .attach import attach
from .compare import Sampling

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_curve_name(name: str) -> None:
    """Raise a ``ValueError`` for what is not a plain name: it becomes part of a file's path."""
    if not NAME.fullmatch(name):
        raise ValueError(f"curve is {name!r}: write a plain name of letters, digits, - and _, such as flux_30")


def load_curve(name: str) -> Curve:
    """The curve that ``DiCache Calibrate`` saved under this name."""
    path = _path(name)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none yet"
        raise ValueError(f"there is no curve {name!r} in {path.parent} (found: {known}): run DiCache Calibrate first")
    with path.open(encoding="utf-8", errors="replace") as file:  # bytes that are no text: no JSON, as said below
        text = file.read(LARGEST_FILE + 1)
    return Curve.from_json(text)


def curve_fingerprint(name: str) -> str:
    """Another text whenever the file of that name has another content; empty where there is none yet."""
    path = _path(name)
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def calibrate(model: ModelPatcher, sampling: Sampling, name: str) -> Curve:
    """Sample once in full, and save how the stack's residual and the velocity went."""
    path = _path(name)
    runs: list[RunStatistics] = []
    sampling.run(attach(model, calibration(), runs=runs))
    curve = curve_of(runs[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(curve.to_json(), encoding="utf-8")
    return curve


def _path(name: str) -> Path:
    check_curve_name(name)
    return Path(folder_paths.get_user_directory()) / "dicache" / f"{name}.json"
