"""Models that nobody measured: one whose outputs jump, and distilled students at the few steps they are made for."""

from types import MethodType

import pytest
import torch
from passes import Passes
from testbed.captions import CAPTIONS

EIGHT = CAPTIONS[:8]
SIZE = 16  # cells of the latent


class Jumping:
    """A network's own forward, its output turned round and of another size from call to call."""

    FACTORS = (1.0, -2.0, 0.5, -1.5, 2.5, -0.5)

    def __init__(self, original) -> None:
        self.original, self.calls = original, 0

    def __call__(self, *args, **kwargs):
        factor = self.FACTORS[self.calls % len(self.FACTORS)]
        self.calls += 1
        return factor * self.original(*args, **kwargs)


def jumping(passes):
    model = passes.model()
    network = model.model.diffusion_model
    model.add_object_patch("diffusion_model.forward_orig", Jumping(MethodType(type(network).forward_orig, network)))
    return model


@pytest.mark.parametrize("steps", [8, 20])
@pytest.mark.parametrize("preset", ["balanced", "fast"])
def test_a_model_that_jumps_is_computed_and_the_strip_says_why(comfy, preset, steps):
    passes = Passes(comfy, "flux")
    config = passes.core.resolve("flux", preset)
    passes.sample(comfy.pack.model_patchers.attach(jumping(passes), config, runs=passes.runs), steps=steps)
    run = passes.run
    assert run.reused <= 1, run.cells
    assert run.vetoed > 0
    event = passes.core.run_json(run)
    assert event["vetoed"] == run.vetoed
    told = event["nothing"] and event["nothing"]["reason"]
    assert told == (None if run.reused else "forecasts off")
    text = comfy.pack.dicache_nodes.rendering.describe(run)
    assert "every planned skip was cancelled" in text if not run.reused else "planned skip" in text


def decibels(comfy, architecture, sampler, steps):
    """PSNR of eight captions in one batch under ``balanced``, and calls of the model over computed ones."""
    runs, pictures = [], []
    config = comfy.pack.dicache_core.resolve("flux", "balanced")
    for cached in (False, True):
        model = comfy.load_model(architecture)
        if cached:
            model = comfy.pack.model_patchers.attach(model, config, runs=runs)
        latent = comfy.sample(model, EIGHT, architecture=architecture, steps=steps, sampler=sampler, size=SIZE)
        pictures.append(comfy.pictures(latent, architecture).clamp(0, 1))
    errors = (pictures[1] - pictures[0]).square().flatten(1).mean(1).clamp(min=1e-10)
    decisions = [d for passed in runs[0].passes for d in passed.decisions]
    return -10 * errors.log10(), len(decisions) / sum(not d.reuse for d in decisions)


@pytest.mark.parametrize(("steps", "least"), [(8, 45.0), (4, 40.0)])
def test_straight_paths_are_worth_a_third(comfy, steps, least):
    psnr, speed = decibels(comfy, "flux_reflow", "euler", steps)
    print(f"reflow {steps}: {psnr.mean():.1f} dB, worst {psnr.min():.1f}, {speed:.2f}x")
    assert speed >= 1.3
    assert psnr.mean() >= least


@pytest.mark.parametrize("steps", [8, 4])
@pytest.mark.parametrize("sampler", ["euler", "lcm"])
def test_a_consistent_student_keeps_its_picture_whatever_the_speed(comfy, sampler, steps):
    psnr, speed = decibels(comfy, "flux_lcm", sampler, steps)
    print(f"lcm {sampler} {steps}: {psnr.mean():.1f} dB, p10 {psnr.quantile(0.1):.1f}, {speed:.2f}x")
    assert psnr.mean() >= 35
    assert torch.quantile(psnr, 0.1) >= 30
