"""The speed bench runs: what it measures is of a machine, that it measures is of this code."""

import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.one_host

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))


@pytest.mark.parametrize("architecture", ["flux", "wan"])
def test_a_step_and_a_skipped_step_are_timed(comfy, architecture):
    import models
    from steps import Bench, decision_ms, step_costs

    bench, device = Bench(comfy, torch.device("cpu")), torch.device("cpu")
    _ = comfy.pack
    small = models.Shape(128, (8, 8) if architecture == "flux" else (3, 8, 8), 8, 64, "tiny")
    costs = step_costs(bench, models.build(architecture, small, device), architecture, small, rounds=2)
    assert costs["reused_over_step"]["median"] < 0.5
    assert costs["bytes_held"] == costs["bytes_expected"]
    assert decision_ms(bench, small, rounds=2)["median"] > 0
