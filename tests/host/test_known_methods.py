"""Every policy, with its own settings, through ComfyUI's own sampler on the testbed's Flux."""

import pytest
import torch
from every_policy import NEVER_AT_THIS_SIZE, POLICIES, STEPS, loosened, recorded
from passes import Passes


@pytest.fixture
def passes(comfy):
    return Passes(comfy, "flux")


@pytest.fixture(scope="module")
def curve(comfy):
    """What one full run of as many steps records."""
    return recorded(Passes(comfy, "flux"))


def test_the_record_has_every_step_but_the_last_two(curve):
    for table in (curve.residual, curve.velocity):
        assert [len(row) for row in table] == [8] * STEPS
        assert all(0 < row[0] < 3 for row in table[1:-2])
        assert table[5][4] > 0 == table[5][5]  # step 5 has five steps before it
    assert curve.from_json(curve.to_json()) == curve


@pytest.mark.parametrize("name", POLICIES)
def test_it_skips_and_stays_finite(passes, curve, name):
    config, runs = loosened(passes.core, name, curve), []
    model = passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=runs)
    latent = passes.sample(model, steps=STEPS)
    assert torch.isfinite(latent).all()
    assert runs[0].computed < STEPS or name in NEVER_AT_THIS_SIZE
    assert runs[0].computed >= 2
    if config.target:
        assert runs[0].computed == STEPS // 2
