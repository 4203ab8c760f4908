"""Other packs' functions in the place of the host's, whatever their arguments are called."""

import itertools
import sys
from dataclasses import replace

import pytest
import torch
from passes import Passes

pytestmark = pytest.mark.one_host
STEPS = 6


@pytest.fixture
def passes(comfy):
    return Passes(comfy, "flux")


@pytest.fixture
def samplers(comfy):
    return comfy.module("comfy.samplers")


def sample(passes, model, guider=None, sampler=None):
    """By the host's custom sampling, from a guider of this class and with this sampler."""
    samplers, custom = passes.comfy.module("comfy.samplers"), passes.comfy.module("comfy_extras.nodes_custom_sampler")
    guider = (guider or samplers.CFGGuider)(model)
    guider.set_conds(passes.text(), passes.text(""))
    sampler, latent = sampler or samplers.sampler_object("euler"), {"samples": passes.latent(size=8)}
    with torch.inference_mode():
        return custom.SamplerCustomAdvanced.execute(
            custom.Noise_RandomNoise(1), guider, sampler, torch.linspace(1, 0, STEPS + 1), latent
        ).result[0]["samples"]


def anything(original):
    def replacement(self, *args, **kwargs):
        return original(self, *args, **kwargs)

    return replacement


def other_names(original):
    """By place only, as the host calls it."""

    def replacement(self, a, b, c, d, *rest, **more):
        return original(self, a, b, c, d, *rest, **more)

    return replacement


@pytest.mark.parametrize("around", [anything, other_names])
def test_a_guider_may_take_anything(passes, samplers, around):
    expected = sample(passes, passes.cached(threshold=9.0))
    cells = passes.run.cells
    guider = type("Guider", (samplers.CFGGuider,), {"outer_sample": around(samplers.CFGGuider.outer_sample)})
    assert torch.equal(sample(passes, passes.cached(threshold=9.0), guider), expected)
    assert passes.run.cells == cells == "wwrrrl"


@pytest.mark.parametrize("around", [anything, other_names])
@pytest.mark.parametrize("seam", ["outer_sample", "_apply_model"])
def test_another_packs_function_in_the_hosts_place(passes, samplers, monkeypatch, seam, around):
    expected = sample(passes, passes.cached(threshold=9.0))
    owner = samplers.CFGGuider if seam == "outer_sample" else passes.comfy.module("comfy.model_base").BaseModel
    monkeypatch.setattr(owner, seam, around(getattr(owner, seam)))
    assert torch.equal(sample(passes, passes.cached(threshold=9.0)), expected)
    assert passes.run.cells == "wwrrrl"


def test_a_comparison_times_a_sampler_that_takes_anything(passes, samplers, monkeypatch):
    """The wrapper that times it puts a callback of its own in."""
    compare = sys.modules[f"{passes.comfy.pack.__name__}.model_patchers.compare"]
    monkeypatch.setattr(samplers.KSAMPLER, "sample", anything(samplers.KSAMPLER.sample))
    sampling = compare.Sampling(
        0, STEPS, 1.0, "euler", "simple", passes.text(), passes.text(""), {"samples": passes.latent(size=8)}
    )
    steps = []
    _, seconds = compare._timed([passes.model()], sampling, steps.append)
    assert steps == [1, 2, 3, 4, 5, 6]
    assert seconds > 0


# -- nobody is asked where nothing can be skipped -------------------------------------------------------------------


class Counted:
    """Euler's method, with noise from a generator of its own; ``asked`` how often it was run."""

    def __init__(self):
        self.asked, self.generator = 0, torch.Generator().manual_seed(7)

    def __call__(self, model, x, sigmas, extra_args=None, callback=None, disable=None):
        self.asked += 1
        for sigma, following in itertools.pairwise(sigmas):
            denoised = model(x, sigma * x.new_ones([len(x)]), **extra_args)
            x = x + (x - denoised) / sigma * (following - sigma)
            x = x + 0.02 * following * torch.randn(x.shape, generator=self.generator)
        return x


def counted(passes, samplers, model):
    function = Counted()
    return sample(passes, model, sampler=samplers.KSAMPLER(function)), function.asked


def test_off_asks_nobody_and_is_exact(passes, samplers):
    plain, _ = counted(passes, samplers, passes.model())
    off, asked = counted(passes, samplers, passes.cached(threshold=0.0))
    assert torch.equal(off, plain)
    assert asked == 1


def test_a_sampler_that_was_asked_draws_what_it_would_have_drawn(passes, samplers):
    plain, _ = counted(passes, samplers, passes.model())
    composed, asked = counted(passes, samplers, passes.cached(threshold=1e-30))
    assert torch.equal(composed, plain)
    assert asked > 1


# -- a sampler that cannot be asked ---------------------------------------------------------------------------------


def test_under_an_unknown_sampler_nothing_is_skipped_before_the_first_audit(passes, samplers):
    def function(model, x, sigmas, extra_args=None, callback=None, disable=None):
        for sigma, following in itertools.pairwise(sigmas):
            assert x.shape[-1] > 2, "a toy"
            denoised = model(x, sigma * x.new_ones([len(x)]), **extra_args)
            x = x + (x - denoised) / sigma * (following - sigma)
        return x

    config = replace(passes.core.resolve("flux", "fast"), target="3")
    model = passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=passes.runs)
    sample(passes, model, sampler=samplers.KSAMPLER(function))
    (decided,) = passes.run.by_sample().values()
    assert [d.reason for _, d in decided][:2] == ["warm-up", "no audit yet"]
    assert passes.run.reused
