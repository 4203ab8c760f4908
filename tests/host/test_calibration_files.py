"""Curve files that somebody else wrote: JSON of a plain name in the user directory, and an error for all else."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture
def folder(comfy):
    folder = Path(comfy.module("folder_paths").get_user_directory()) / "dicache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def curve(**changes) -> str:
    return json.dumps({"version": 2, "architecture": "flux", "ratios": [1.0, 0.9, 0.8]} | changes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        curve().encode()[:-5],
        b"\x80\x04\x95pickle",
        b"\xff\xfe\x00\x00",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        curve(ratios=[]).encode(),
        curve(ratios="1,2").encode(),
        curve(ratios=[1.0, "2"]).encode(),
        curve(ratios=[1.0, None]).encode(),
        curve(ratios=[True]).encode(),
        curve(ratios=[-0.1]).encode(),
        curve(ratios=[float("nan")]).encode(),
        curve(ratios=[float("inf")]).encode(),
        b'{"version": 2, "architecture": "flux", "ratios": [1' + b"0" * 400 + b"]}",
        b'{"version": 2, "architecture": "flux", "ratios": [1' + b"0" * 9000 + b"]}",
        curve(architecture=7).encode(),
        b"[1.0, 0.9]",
        curve(ratios=[1.0] * 40_000).encode(),
        b" " * 10**7 + curve().encode(),
    ],
    ids=lambda content: repr(content[:24]),
)
def test_refused_with_what_to_do(pack, folder, content):
    path = folder / "hostile.json"
    path.write_bytes(content)
    try:
        with pytest.raises(ValueError, match="calibrate again"):
            pack.model_patchers.load_calibration("hostile")
    finally:
        path.unlink()


def test_a_sound_one_is_read(pack, folder):
    path = folder / "sound.json"
    path.write_text(curve(comment="ignored"), encoding="utf-8")
    try:
        assert pack.model_patchers.load_calibration("sound").ratios == (1.0, 0.9, 0.8)
    finally:
        path.unlink()


NAMES = ["../sound", "..", "a/b", "a\\b", os.sep + "etc", "sound.json", "", " sound", "so\nund", "sound\n"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_that_leave_the_folder(pack, folder, name):
    with pytest.raises(ValueError, match="write a plain name"):
        pack.model_patchers.load_calibration(name)


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_sampled(pack, tmp_path, monkeypatch):
    curves = sys.modules[pack.model_patchers.calibrate.__module__]
    (tmp_path / "file").write_text("in the folder's place", encoding="utf-8")
    monkeypatch.setattr(curves, "user_folder", lambda: tmp_path / "file")
    with pytest.raises(ValueError, match=r"cannot be written: .* Make it writable"):
        curves.calibrate(None, None, "mine")  # neither a model nor a sampling is looked at


def test_a_curve_is_written_whole_or_not_at_all(pack, folder, tmp_path, monkeypatch):
    curves, files = sys.modules[pack.model_patchers.calibrate.__module__], pack.model_patchers.files
    path = folder / "old.json"
    path.write_text(curve(), encoding="utf-8")

    def full(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    monkeypatch.setattr(curves, "attach", lambda _model, _config, runs: runs.append(SimpleNamespace(compiler=None)))
    monkeypatch.setattr(curves, "calibration_of", lambda _run: pack.dicache_core.Calibration("flux", (1.0, 0.5)))
    try:
        with pytest.raises(OSError, match="No space left"):
            curves.calibrate(None, SimpleNamespace(run=lambda _model: None), "old")
        assert path.read_text(encoding="utf-8") == curve()
        assert [p.name for p in folder.glob("old*")] == ["old.json"]
    finally:
        path.unlink()


def test_a_folder_of_that_name_is_no_curve(pack, folder):
    (folder / "directory.json").mkdir(exist_ok=True)
    try:
        with pytest.raises(ValueError, match="Run DiCache Calibrate first"):
            pack.model_patchers.load_calibration("directory")
    finally:
        (folder / "directory.json").rmdir()
