"""What the cache decides with published settings, written down so that host/matrix.py can compare ComfyUI versions."""

import json
import os
from pathlib import Path

import pytest

STEPS = 20


@pytest.fixture(scope="module")
def decisions():
    """architecture -> caption -> one letter per step; written to the file that DICACHE_DECISIONS names."""
    found: dict[str, dict[str, str]] = {}
    yield found
    if target := os.environ.get("DICACHE_DECISIONS"):
        Path(target).write_text(json.dumps(found, indent=1, sort_keys=True), encoding="utf-8")


@pytest.mark.parametrize("architecture", ["flux", "hunyuan_video", "wan"])
def test_published_settings_reuse_some_steps(comfy, pack, captions, decisions, architecture):
    config = pack.dicache_core.presets.published(architecture)
    for caption in captions[:3]:
        runs = []
        model = pack.model_patchers.attach(comfy.load_model(architecture), config, runs=runs)
        comfy.sample(model, caption, architecture=architecture, steps=STEPS)
        cells = runs[0].cells
        decisions.setdefault(architecture, {})[caption] = cells
        assert len(cells) == STEPS
        assert cells.startswith("w" * (STEPS // 5))
        assert cells.endswith("l")
        assert "r" in cells
