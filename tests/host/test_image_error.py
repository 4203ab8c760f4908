"""The estimate of how far an image is off sees what the sampler is given: guidance as the host really does it."""

import pytest
import torch
from passes import Passes
from testbed import conditioning as testbed

STEPS, SCALE = 12, 6.0


class Unet(Passes):
    """The quickest model of the testbed under ``balanced``; ``calls`` is what the estimator saw."""

    def __init__(self, comfy, monkeypatch):
        super().__init__(comfy, "unet")
        self.calls = []
        estimator = self.core.image_error.ImageErrorEstimator
        add = estimator.add

        def noted(this, denoised, parts):
            self.calls.append((denoised.clone(), parts))
            return add(this, denoised, parts)

        monkeypatch.setattr(estimator, "add", noted)

    def cached(self, model=None):
        config = self.core.resolve("unet", "balanced")
        return self.comfy.pack.model_patchers.attach(model or self.model(), config, runs=self.runs)

    def latent(self, batch=1):
        return testbed.empty_latent("unet", batch, 8)

    def displaced(self, model, **sampling) -> float:
        self.sample(self.cached(model), steps=STEPS, cfg=SCALE, **sampling)
        assert self.run.reused > 0
        return self.run.image_errors[0]

    def by_hand(self) -> float:
        """The same from whole tensors: weights of the streams in each guided output, then what displaces them."""
        squares = 0.0
        for guided, parts in self.calls:
            if not any(part.displaced is not None for part in parts):
                continue
            streams = torch.stack([part.denoised.flatten() for part in parts], 1)
            weights = torch.linalg.lstsq(streams.double(), guided[0].flatten().double()).solution
            displaced = torch.stack([part.displaced.flatten() for part in parts], 1).double() @ weights
            squares += float(displaced.square().mean())
        return squares**0.5


@pytest.fixture
def unet(comfy, monkeypatch):
    return Unet(comfy, monkeypatch)


def test_the_guided_error_counts(unet):
    displaced = unet.displaced(unet.model())
    assert displaced == pytest.approx(unet.by_hand(), rel=0.02)
    positive, negative = (
        sum(float(parts[i].displaced.square().mean()) for _, parts in unet.calls if parts[i].displaced is not None)
        for i in (0, 1)
    )
    assert displaced**2 > 2 * max(positive, negative), "guidance multiplies what the streams differ by"
    for guided, parts in unet.calls:
        weighed = sum(part.weight * part.denoised for part in parts)
        assert (guided[0] - weighed).abs().max() < 1e-4, "with ComfyUI's own guidance the first guess is right"


def test_a_function_that_guides_in_another_way_is_measured(unet):
    def milder(args):
        return args["uncond"] + 2.0 * (args["cond"] - args["uncond"])

    model = unet.model()
    model.set_model_sampler_cfg_function(milder)
    displaced = unet.displaced(model)
    assert displaced == pytest.approx(unet.by_hand(), rel=0.05)
    guessed = sum(
        float(sum(part.weight * part.displaced for part in parts).square().mean())
        for _, parts in unet.calls
        if all(part.displaced is not None for part in parts)
    )
    assert displaced < 0.7 * guessed**0.5, "cfg says 6 where the function takes 2"


def test_three_streams_of_a_dual_guider(unet):
    nodes = unet.comfy.module("comfy_extras.nodes_custom_sampler")
    samplers, sample = unet.comfy.module("comfy.samplers"), unet.comfy.module("comfy.sample")
    model = unet.cached()
    guider = nodes.Guider_DualCFG(model)
    guider.set_conds(unet.text(), unet.text("plain green | star white medium still"), unet.text(""))
    guider.set_cfg(5.0, 2.0)
    sigmas = samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", STEPS)
    with torch.inference_mode():
        noise = sample.prepare_noise(unet.latent(), 0)
        guider.sample(noise, unet.latent(), samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=0)
    assert {len(parts) for _, parts in unet.calls} == {3}
    assert unet.run.reused > 0
    assert unet.run.image_errors[0] == pytest.approx(unet.by_hand(), rel=0.05)


def test_it_does_not_depend_on_how_the_host_batches_the_streams(unet, monkeypatch):
    patcher, found = unet.comfy.module("comfy.model_patcher").ModelPatcher, []
    for free in (1e18, 0):
        monkeypatch.setattr(patcher, "get_free_memory", lambda *_, free=free: free)
        unet.displaced(unet.model(), latent=unet.latent(2))
        found.append(unet.run.image_errors)
    assert {len(passed.keys) for passed in unet.runs[0].passes} == {4}
    assert {len(passed.keys) for passed in unet.runs[1].passes} == {2}
    joined, split = found
    assert split == pytest.approx(joined, rel=0.01)


def test_conds_of_areas_are_told_too(unet):
    """Nobody knows how they were put together: the largest that it can be counts."""
    (left,) = unet.comfy.nodes.ConditioningSetArea().append(unet.text(), 32, 64, 0, 0, 1.0)
    (right,) = unet.comfy.nodes.ConditioningSetArea().append(unet.text(), 32, 64, 32, 0, 1.0)
    displaced = unet.displaced(unet.model(), positive=left + right)
    assert displaced > 0
    assert unet.run.closeness is not None


def test_a_run_that_skips_nothing_is_not_estimated(comfy, unet):
    off = comfy.pack.model_patchers.attach(unet.model(), unet.core.CacheConfig(threshold=0), runs=unet.runs)
    unet.sample(off, steps=3, cfg=SCALE)
    assert (unet.calls, unet.run.image_errors) == ([], {})


def test_strong_guidance_costs_the_word(comfy, unet):
    """At cfg 10 and 24 steps of dpmpp_2m these images of 20 to 33 dB were called close and very close."""
    sampling = dict(steps=24, cfg=10.0, sampler="dpmpp_2m", scheduler="beta", latent=unet.latent(4))
    plain = unet.sample(unet.model(), **sampling)
    config = unet.core.resolve("unet", "fast")
    ours = unet.sample(comfy.pack.model_patchers.attach(unet.model(), config, runs=unet.runs), **sampling)
    images = [comfy.pictures(latent, "unet").clamp(0, 1) for latent in (ours, plain)]
    decibels = -10 * (images[0] - images[1]).square().flatten(1).mean(1).log10()
    for row, found in enumerate(decibels.tolist()):
        word = unet.core.quality.closeness_of(unet.run.image_errors[row])
        print(f"{found:.1f} dB: {word}, {unet.run.image_errors[row]}")
        assert found >= {"very close": 40, "close": 31, "visible": 0}[word]
    assert min(decibels) < 31
