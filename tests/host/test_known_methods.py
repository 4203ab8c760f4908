"""Every policy, with its own settings, through ComfyUI's own sampler on the testbed's Flux."""

from dataclasses import replace

import pytest
import torch
from passes import Passes

STEPS = 12
MASK = "1,1,1,1,0,0,1,0,0,1,0,1"
NEVER_AT_THIS_SIZE = {"teacache"}  # its polynomial was fitted to the real Flux
POLICIES = (  # by name, as the pack is only imported once ComfyUI runs
    "dicache", "dicache_delta_minus", "trajectory_error", "trajectory_error_output", "output_reuse", "output_line",
    "corrected_line", "foreseen", "fbcache", "teacache", "easycache", "magcache", "taylorseer_1", "taylorseer_2",
    "foca", "hyca", "sensitivity", "fixed_interval", "step_mask", "spectrum", "spectrum_output", "seacache", "hicache",
    "freqca", "tc_pade", "worldcache", "cachequant", "deepcache", "smoothcache", "procache", "meancache",
)  # fmt: skip
LOOSE = 5.0  # times a method's own threshold: the small model moves more from step to step than a large one


@pytest.fixture
def passes(comfy):
    return Passes(comfy, "flux")


@pytest.fixture(scope="module")
def curve(comfy):
    """What one full run of as many steps records."""
    passes = Passes(comfy, "flux")
    runs = []
    model = comfy.pack.model_patchers.attach(passes.model(), passes.core.calibration(), runs=runs)
    passes.sample(model, steps=STEPS)
    return passes.core.curve_of(runs[0])


def test_no_policy_is_left_out(passes):
    assert set(passes.core.POLICIES) == set(POLICIES)


def test_the_record_has_every_step_but_the_last_two(curve):
    for table in (curve.residual, curve.velocity):
        assert [len(row) for row in table] == [8] * STEPS
        assert all(0 < row[0] < 3 for row in table[1:-2])
        assert table[5][4] > 0 == table[5][5]  # step 5 has five steps before it
    assert curve.from_json(curve.to_json()) == curve


@pytest.mark.parametrize("name", POLICIES)
def test_it_skips_and_stays_finite(passes, curve, name):
    core = passes.core
    policy = core.POLICIES[name]
    policy = replace(policy, mask=MASK) if name == "step_mask" else replace(policy, curve=curve)
    config = core.resolve("flux", policy=policy)
    if not config.target and policy.indicator not in ("fixed", "mask", "growing_window"):
        config = replace(config, threshold=LOOSE * config.threshold)
    runs = []
    model = passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=runs)
    latent = passes.sample(model, steps=STEPS)
    assert torch.isfinite(latent).all()
    assert runs[0].computed < STEPS or name in NEVER_AT_THIS_SIZE
    assert runs[0].computed >= 2
    if config.target:
        assert runs[0].computed == STEPS // 2
