"""DiCache Compare and DiCache Tune on latents of every kind: pictures, videos, sound, 3D shapes, several in one."""

import json
from types import SimpleNamespace

import pytest
import torch
from sampled import STACKS, HostModel

KINDS = {
    "SD3": 4,
    "GenmoMochi": 5,
    "LTXAV": 5,
    "StableAudio": 3,
    "Hunyuan3Dv2": 3,
}  # of what is compared, its dimensions


@pytest.fixture
def node(comfy, pack):
    """``node(name, config, ...)``: a node's answer for a toy of that family."""

    def run(name, config, host=None, **inputs):
        host = host or HostModel(next(spec for spec in STACKS if spec.config == config))
        sampling = dict(seed=0, steps=3, cfg=1.5, sampler_name="euler", scheduler="simple", denoise=1.0)
        with torch.inference_mode():
            return comfy.nodes.NODE_CLASS_MAPPINGS[name].PREPARE_CLASS_CLONE(None).execute(
                model=host.model, positive=host.cond(0), negative=host.cond(1), latent_image={"samples": host.latent},
                **sampling, **inputs,
            )  # fmt: skip

    return run


@pytest.mark.parametrize("config", KINDS)
def test_latents_of_every_kind_are_compared_and_tuned(node, pack, config):
    pack.model_patchers.forget_all()
    latents, _, report, _ = node("DiCacheCompare", config, settings="0, 1").result
    assert latents["samples"].ndim == KINDS[config]
    _, zero, one = json.loads(report)
    assert zero["identical"]
    assert one["failed"] is None
    assert json.loads(node("DiCacheTuning", config, want="similar").result[3])["trials"]
    pack.model_patchers.forget_all()


@pytest.mark.parametrize("name", ["DiCacheCompare", "DiCacheTuning"])
@pytest.mark.parametrize(
    ("config", "decoded"),
    [
        ("StableAudio", (1, 4096, 2)),  # as the host's VAE: channels last
        ("Hunyuan3Dv2", (1, 17, 17, 17)),
        ("SD3", (1, 4096, 2)),  # of ACE-Step the latent has four dimensions, and is sound
    ],
)
def test_a_vae_that_makes_no_pictures_is_refused_before_anything_is_sampled(node, name, config, decoded):
    host = HostModel(next(spec for spec in STACKS if spec.config == config))
    called = []
    host.toy.model.register_forward_pre_hook(lambda *_: called.append(1))
    vae = SimpleNamespace(decode=lambda _samples: torch.zeros(decoded))
    with pytest.raises(ValueError, match=r"cannot decode .* disconnect the VAE"):
        node(name, config, host, vae=vae, **({"settings": "1"} if name == "DiCacheCompare" else {"want": "similar"}))
    assert not called


def test_likeness_along_one_row_is_that_of_its_numbers(pack):
    """SSIM by its formula, in one dimension: a Gaussian window of 11, sigma 1.5, mirrored at both ends."""
    generator = torch.Generator().manual_seed(0)
    plain = torch.rand(2, 3, 40, generator=generator)
    plain[..., 0], plain[..., 1] = 0, 1  # its own range is the scale
    other = plain + 0.1 * torch.randn(2, 3, 40, generator=generator)
    psnr, ssim = pack.dicache_nodes.rendering.similarity(*map(pack.dicache_nodes.rendering.as_pictures, (other, plain)))
    assert psnr == pytest.approx(-10 * (other - plain).square().mean().log10().item(), abs=1e-3)
    window = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))

    def blurred(x):
        padded = torch.nn.functional.pad(x.reshape(6, 1, 40), (5, 5), mode="reflect")
        return torch.nn.functional.conv1d(padded, (window / window.sum())[None, None])

    a, b = blurred(other), blurred(plain)
    varied = [blurred(x * y) - m for x, y, m in ((other, other, a * a), (plain, plain, b * b), (other, plain, a * b))]
    top = (2 * a * b + 0.01**2) * (2 * varied[2] + 0.03**2)
    expected = (top / ((a * a + b * b + 0.01**2) * (varied[0] + varied[1] + 0.03**2))).mean().item()
    assert ssim == pytest.approx(expected, abs=1e-4)
