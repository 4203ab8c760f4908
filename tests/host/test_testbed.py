"""Each of the testbed's checkpoints is what its table says: a class of the host, small, and trained on its captions."""

from collections import defaultdict

import pytest
import torch
from safetensors import safe_open
from testbed import conditioning as testbed
from testbed import emoji
from testbed.captions import CAPTIONS
from testbed.networks import NETWORKS

CLASSES = {
    "flux": ("Flux", "Flux"),
    "hunyuan_video": ("HunyuanVideo", "HunyuanVideo"),
    "wan": ("WAN21", "WanModel"),
    "qwen_image": ("QwenImage", "QwenImageTransformer2DModel"),
    "z_image": ("Lumina2", "NextDiT"),
    "unet": ("BaseModel", "UNetModel"),
    "flux_reflow": ("Flux", "Flux"),
    "flux_lcm": ("Flux", "Flux"),
    "flux_emoji": ("Flux", "Flux"),
}
LARGEST_SWING = 0.05  # of unit noise, rms; measured: 0.003 to 0.033, and 0.14 for the U-Net that did
GREEN, RED = "plain green | circle green medium still", "plain red | circle red medium still"
EMOJI_GREEN, EMOJI_RED = "frog on green", "strawberry on red"


@pytest.fixture(scope="module")
def runs(comfy):
    """Green, green, red, red in one batch, so four noises and two captions: the latent, and its mean color each."""
    done = {}

    def run(architecture: str, scheduler: str = "simple"):
        green, red = (EMOJI_GREEN, EMOJI_RED) if architecture == testbed.EMOJI else (GREEN, RED)
        if (architecture, scheduler) not in done:
            done[architecture, scheduler] = comfy.sample(
                comfy.load_model(architecture),
                [green, green, red, red],
                architecture=architecture,
                steps=8,
                cfg=testbed.SHAPES[architecture].cfg,
                scheduler=scheduler,
                seed=7,
            )
        return done[architecture, scheduler]

    return run


def colors(comfy, latent: torch.Tensor, architecture: str) -> torch.Tensor:
    """(B, 3) mean color of each sample."""
    pictures = comfy.pictures(latent, architecture)
    return pictures.reshape(len(latent), -1, 3).mean(1)


@pytest.mark.parametrize("architecture", testbed.SHAPES)
def test_checkpoint_is_a_model_of_the_host(comfy, architecture):
    model = comfy.load_model(architecture).model
    assert (type(model).__name__, type(model.diffusion_model).__name__) == CLASSES[architecture]


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_weight_of_the_network_is_in_the_file(comfy, architecture):
    model = comfy.load_model(architecture).model
    with safe_open(testbed.weights(architecture), framework="pt") as file:
        assert set(file.keys()) == set(model.diffusion_model.state_dict())


def test_unet_predicts_noise_on_the_schedule_of_sd15(comfy):
    model = comfy.load_model("unet").model
    assert model.model_type.name == "EPS"
    assert model.model_sampling.sigma_max.item() == pytest.approx(14.61, abs=0.01)
    assert len(model.diffusion_model.channel_mult) >= 3, "DeepCache needs a deep part"


@pytest.mark.parametrize("architecture", testbed.SHAPES)
def test_pictures_are_finite_and_follow_the_caption(comfy, runs, architecture):
    latent = runs(architecture)
    assert torch.isfinite(latent).all()
    mean = colors(comfy, latent, architecture)
    captions, seeds = mean.reshape(2, 2, 3).mean(1), ((mean[0] - mean[1]).norm() + (mean[2] - mean[3]).norm()) / 2
    # Measured: 1.4 times for Qwen-Image, the least trained, 3.5 for the U-Net, 20 and more for the others.
    assert (captions[0] - captions[1]).norm() > 1.2 * seeds
    assert captions[0, 1] > captions[1, 1], "the green one is the greener"
    assert captions[1, 0] > captions[0, 0], "the red one is the redder"


@pytest.mark.parametrize("scheduler", ["normal", "karras"])
def test_unet_samples_on_the_schedules_of_its_users(comfy, runs, scheduler):
    latent = runs("unet", scheduler)
    assert torch.isfinite(latent).all()
    assert latent.std() == pytest.approx(1, abs=0.6), "the code's channels have unit variance on average"


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_run_repeats_bit_for_bit_through_the_loader_node(comfy, architecture):
    (loaded,) = comfy.node("DiCacheTestbedModel", architecture=architecture)
    first, second = (
        comfy.sample(model, GREEN, architecture=architecture, steps=2, cfg=testbed.SHAPES[architecture].cfg)
        for model in (comfy.load_model(architecture), loaded)
    )
    assert torch.equal(first, second)


@pytest.fixture(scope="module")
def at(comfy):
    """Latent of eight captions of a Flux, from the same noises whatever the model and the number of steps."""

    def run(architecture: str, steps: int, sampler: str = "euler"):
        return comfy.sample(
            comfy.load_model(architecture),
            CAPTIONS[:8],
            architecture=architecture,
            steps=steps,
            sampler=sampler,
            size=16,
        )

    return run


def test_reflowed_flux_has_straighter_paths_than_its_teacher(at):
    curved, straight = ((at(model, 4) - at(model, 20)).square().mean().item() for model in ("flux", "flux_reflow"))
    assert straight < 0.7 * curved


def test_consistent_flux_has_the_contrast_of_the_teachers_full_run_after_four_steps_of_lcm(at):
    full = at("flux", 20).std().item()
    teacher, student = (at(model, 4, "lcm").std().item() for model in ("flux", "flux_lcm"))
    assert abs(student - full) < 0.5 * abs(teacher - full)


@pytest.mark.parametrize("architecture", testbed.SHAPES)
def test_no_value_of_what_a_model_predicts_swings_to_and_fro(comfy, architecture):
    """A run that does is not on the model's path: a first U-Net's did from -4 to 4, call by call, in single cells."""
    model, predicted = comfy.load_model(architecture), defaultdict(list)  # by cond and uncond

    def record(apply, call):
        picture, sigma = apply(call["input"], call["timestep"], **call["c"]), call["timestep"]
        direction = (call["input"] - picture) / sigma.view(-1, *[1] * (picture.ndim - 1))
        predicted[tuple(call["cond_or_uncond"])].append(direction)
        return picture

    model.set_model_unet_function_wrapper(record)
    cfg = testbed.SHAPES[architecture].cfg
    captions = testbed.captions_of(architecture)[:8]
    comfy.sample(model, captions, architecture=architecture, steps=30, cfg=cfg, seed=7, size=8)
    for directions in predicted.values():
        turns = torch.stack(directions).diff(dim=0)
        swings = torch.minimum(turns[1:].abs(), turns[:-1].abs()) * (turns[1:] * turns[:-1] < 0)
        assert swings.square().mean().sqrt() < LARGEST_SWING


def test_emoji_captions_are_the_words_of_their_names():
    ids = emoji.parse("globe showing Europe-Africa on blue").tolist()
    assert ids[:6] == [1709, 636, 1330, 508, 29, 0]
    assert len(ids) == emoji.LENGTH
    assert len(emoji.NAMES) == 59
    for name in emoji.NAMES:
        assert emoji.parse(f"{name} on white")[0] == emoji.BACKGROUNDS["white"]
    with pytest.raises(ValueError, match="'teapot' is not an emoji that the checkpoint knows"):
        emoji.parse("teapot on blue")
    with pytest.raises(ValueError, match="ends with 'on' and one of white, yellow"):
        emoji.parse("rocket on black")
