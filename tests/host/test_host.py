"""The ComfyUI under test is real, and the testbed's checkpoints sample in it."""

import pytest
import torch
from testbed.captions import CAPTIONS, parse


def test_host_is_the_provisioned_one(comfy, host):
    assert comfy.version == host.version
    assert comfy.nodes.__file__.startswith(host.comfy)


@pytest.mark.parametrize(
    ("architecture", "name"), [("flux", "Flux"), ("hunyuan_video", "HunyuanVideo"), ("wan", "WAN21")]
)
def test_checkpoint_is_detected_and_samples(comfy, architecture, name):
    model = comfy.load_model(architecture)
    assert type(model.model).__name__ == name
    latent = comfy.sample(model, CAPTIONS[0], architecture=architecture, steps=2)
    assert torch.isfinite(latent).all()


def test_caption_is_followed(comfy):
    latent = comfy.sample(comfy.load_model("flux"), "plain green | circle white large still", steps=12, seed=3)
    middle, _ = comfy.pictures(latent)[0].flatten(0, 1).median(0)
    assert middle[1] > middle[0] + 0.1, "a plain green background was asked for"
    assert middle[1] > middle[2] + 0.1, "a plain green background was asked for"


def test_sampling_repeats_bit_for_bit(comfy):
    first, second = (comfy.sample(comfy.load_model("flux"), CAPTIONS[1], steps=3, seed=5) for _ in range(2))
    assert torch.equal(first, second)


def test_batch_of_two_captions_equals_each_alone(comfy):
    both = comfy.sample(comfy.load_model("flux"), CAPTIONS[:2], steps=3)
    first = comfy.sample(comfy.load_model("flux"), CAPTIONS[0], steps=3)
    assert torch.allclose(both[:1], first, atol=1e-4)


def test_captions_are_many_and_distinct():
    assert len(CAPTIONS) >= 16
    assert len({tuple(parse(c).tolist()) for c in CAPTIONS}) == len(CAPTIONS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tartan red", "tartan"),
        ("plain red | blob red large left", "blob"),
        ("red", "red"),
        ("plain red | ring", "ring"),
    ],
)
def test_wrong_caption_names_the_word(text, found):
    with pytest.raises(ValueError, match=found):
        parse(text)
