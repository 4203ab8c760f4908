"""What a sampler does with the model's outputs, asked of every sampler of the host."""

import functools
import itertools
import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

STOCHASTIC = {
    "euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", "ddpm",
    "lcm", "er_sde", "seeds_2", "seeds_3", "sa_solver", "res_multistep_ancestral",
}  # fmt: skip
DETERMINISTIC = {
    "euler",
    "heun",
    "heunpp2",
    "dpm_2",
    "lms",
    "dpm_fast",
    "dpmpp_2m",
    "ipndm",
    "deis",
    "res_multistep",
    "ddim",
    "uni_pc",
}
STEPS = 12


@pytest.fixture(scope="module")
def asked(comfy, pack):
    """name -> what asking it gave, along 12 steps of Flux's sampling."""
    module, samplers = sys.modules[f"{pack.__name__}.model_patchers.sampler_probe"], comfy.module("comfy.samplers")
    guider = samplers.CFGGuider(comfy.load_model("flux"))
    sigmas = samplers.calculate_sigmas(guider.model_patcher.get_model_object("model_sampling"), "beta", STEPS)
    ask = lambda name: module.probe_sampler(samplers.sampler_object(name), sigmas, guider)  # noqa: E731
    return SimpleNamespace(
        answers={name: ask(name) for name in samplers.SAMPLER_NAMES}, sigmas=sigmas, guider=guider, module=module,
        samplers=samplers,
    )  # fmt: skip


def conduct(asked, name: str) -> str:
    return asked.answers[name].kind.value


def test_every_sampler_can_be_asked(asked):
    found = {name: answer.kind.value for name, answer in asked.answers.items()}
    assert "unknown" not in found.values()
    assert {name for name, kind in found.items() if kind == "adaptive"} == {"dpm_adaptive"}
    assert all(found[name] == "stochastic" for name in STOCHASTIC)
    assert all(found[name] == "deterministic" for name in DETERMINISTIC)


def test_every_sampler_can_be_asked_of_every_kind_of_model(asked, comfy):
    """Kinds mix noise and picture otherwise, some of them in place.  Those that make pictures of pictures are never
    asked, as nothing is forecast there."""
    base, left, tried = comfy.module("comfy.model_base"), {}, set()
    guider = asked.samplers.CFGGuider(comfy.load_model("flux"))
    for kind in base.ModelType:
        if kind.name.startswith("IMG_TO_IMG"):
            continue
        sampling = base.model_sampling(SimpleNamespace(sampling_settings={}, unet_config={}), kind)
        if (mixing := type(sampling).noise_scaling) in tried and not kind.name.startswith("FLOW"):
            continue
        tried.add(mixing)
        guider.model_patcher.add_object_patch("model_sampling", sampling)
        sigmas = asked.samplers.calculate_sigmas(sampling, "normal", 2)
        for name in asked.answers:
            answer = asked.module.probe_sampler(asked.samplers.sampler_object(name), sigmas, guider)
            if not answer.known:
                left[kind.name, name] = answer.kind.value
    assert not left


@pytest.mark.parametrize("dimensions", [3, 5])
def test_sound_and_video_are_asked_as_images_are(asked, dimensions):
    for name in ("lcm", "dpmpp_2m_sde", "uni_pc"):
        answer = asked.module.probe_sampler(asked.samplers.sampler_object(name), asked.sigmas, asked.guider, dimensions)
        assert answer.kind is asked.answers[name].kind
        for sequence, expected in zip(answer.sequences, asked.answers[name].sequences, strict=True):
            assert sequence.weights == pytest.approx(expected.weights)


def euler(also=lambda model, x, **_: None, noise=lambda x: 0.0):
    """Euler's method as another pack writes it, which does something else too, and may add noise of its own."""

    def function(model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
        for sigma, following in itertools.pairwise(sigmas):
            also(model, x, sigma=sigma, extra_args=extra_args, **options)
            denoised = model(x, sigma * x.new_ones([len(x)]), **extra_args)
            x = x + (x - denoised) / sigma * (following - sigma) + following * noise(x)
        return x

    return function


def ask(asked, function, **options):
    return asked.module.probe_sampler(asked.samplers.KSAMPLER(function, options), asked.sigmas, asked.guider)


def reads_the_model(model, x, sigma, extra_args, **_):
    """What samplers of other packs were seen to read."""
    guider, base = model.inner_model, model.inner_model.inner_model
    assert base.device == x.device == guider.model_patcher.load_device
    assert isinstance(base.model_sampling, sys.modules["comfy.model_sampling"].CONST)
    assert isinstance(base, sys.modules["comfy.model_base"].BaseModel)
    assert guider.model_patcher.model.diffusion_model._get_name() == "Flux"
    assert guider.model_patcher.get_model_object("latent_format") is base.latent_format
    assert guider.cfg == 1.0
    assert guider.conds.get("positive") is None
    assert base.process_latent_out(torch.ones(1, 16, 2, 2)).shape == (1, 16, 2, 2)
    assert model.latent_image.shape == model.noise.shape == x.shape
    transformer_options = extra_args["model_options"]["transformer_options"]
    transformer_options["mine"] = len(transformer_options["sample_sigmas"])


def test_a_sampler_may_read_all_of_the_model(asked):
    answer = ask(asked, euler(reads_the_model))
    assert answer.kind.value == "deterministic"
    assert answer.sequences[0].weights == pytest.approx(asked.answers["euler"].sequences[0].weights, abs=1e-5)
    assert "mine" not in asked.guider.model_options.get("transformer_options", {})


def test_what_a_sampler_writes_on_the_model_is_gone(asked):
    def writes(model, *_, **__):
        for thing in (model.inner_model, model.inner_model.inner_model, model.inner_model.inner_model.diffusion_model):
            thing.mine = 1
        model.inner_model.set_cfg(7.0)

    assert ask(asked, euler(writes)).known
    base = asked.guider.model_patcher.model
    assert not any(hasattr(thing, "mine") for thing in (asked.guider, base, base.diffusion_model))
    assert asked.guider.cfg == 1.0


@pytest.mark.parametrize(
    "runs",
    [
        lambda model, x, sigma: model.inner_model.inner_model.apply_model(x, sigma),
        lambda model, x, sigma: model.inner_model.inner_model.diffusion_model(x, sigma),
        lambda model, x, sigma: model.inner_model.model_patcher.get_model_object("diffusion_model")(x, sigma),
    ],
)
def test_a_sampler_that_runs_the_network_itself_is_unknown(asked, runs, monkeypatch):
    base = asked.guider.model_patcher.model
    for owner, name in ((type(base), "_apply_model"), (type(base.diffusion_model), "forward")):
        monkeypatch.setattr(owner, name, lambda *_, **__: pytest.fail("the network ran"))
    assert not ask(asked, euler(lambda model, x, sigma, **_: runs(model, x, sigma))).known


def test_the_guider_may_be_called_in_place_of_the_model(asked):
    """Without the mask, as some samplers of other packs do."""

    def function(model, x, sigmas, extra_args=None, **_):
        for sigma, following in itertools.pairwise(sigmas):
            given = {"model_options": extra_args["model_options"], "seed": 1}
            denoised = model.inner_model.predict_noise(x, sigma.expand(len(x)), **given)
            x = x + (x - denoised) / sigma * (following - sigma)
        return x

    assert ask(asked, function).sequences == ask(asked, euler()).sequences


def test_noise_of_a_samplers_own_is_told_from_its_weights(asked):
    """It draws from torch's generator, or from one of its own, and takes no noise from anybody."""
    own = torch.Generator().manual_seed(5)
    expected = asked.answers["euler"].sequences[0]
    for draw in (torch.randn_like, lambda x: torch.randn(x.shape, generator=own)):
        answer = ask(asked, euler(noise=draw))
        assert answer.kind.value == "stochastic"
        clean = ask(asked, euler(noise=lambda x: 1e-30)).sequences[0]
        assert answer.sequences[0].weights == pytest.approx(clean.weights, abs=1e-5)
        assert answer.sequences[0].noise == pytest.approx(clean.noise, abs=1e-5)
        assert answer.sequences[0].sigmas == expected.sigmas


@pytest.mark.parametrize("noise", [lambda x: x.clamp(-0.01, 0.01), lambda x: x / x.std().clamp(min=1e-3)])
def test_nothing_is_taken_to_be_known_of_a_sampler_that_is_not_linear(asked, noise):
    answer = ask(asked, euler(noise=noise))
    assert not answer.known
    assert [(sequence.sigmas, sequence.weights) for sequence in answer.sequences] == [
        (asked.answers["euler"].sequences[0].sigmas, ())
    ]


def test_a_result_that_is_no_number_tells_nothing(asked):
    assert not ask(asked, euler(noise=lambda x: x / x[0, 0].numel() * float("nan"))).known


GLOBAL, IN_DEFAULTS = torch.Generator(), torch.Generator()


class Draws:
    """A sampler that is an object, with generators of its own."""

    shared = np.random.default_rng(4)

    def __init__(self):
        self.kept = {"inside": [random.Random(3)]}

    def numbers(self):
        return [self.shared.random(), self.kept["inside"][0].random(), float(torch.rand(1, generator=GLOBAL))]

    def __call__(self, model, x, sigmas, **given):
        return euler(lambda *_, **__: self.numbers())(model, x, sigmas, **given)


def places():
    """place -> (sampler function, its options, what it draws)"""
    torchs, numpys, pythons = torch.Generator().manual_seed(7), np.random.RandomState(1), random.Random(2)
    bits = np.random.PCG64(6)

    def closure(*_, **__):
        return [float(torch.rand(1, generator=torchs)), numpys.random(), pythons.random(), bits.random_raw()]

    def defaults(*_, mine=({"a": IN_DEFAULTS},), **__):
        return [float(torch.rand(1, generator=mine[0]["a"]))]

    def from_options(*_, mine=None, **__):
        return [] if mine is None else [float(torch.rand(1, generator=mine.of))]

    def everybodys(*_, **__):
        return [float(torch.rand(1)), np.random.rand(), random.random()]

    option, thing = SimpleNamespace(of=torch.Generator().manual_seed(1)), Draws()
    return {
        "closure": (euler(closure), {}, closure),
        "partial": (functools.partial(euler(closure)), {}, closure),
        "defaults": (euler(defaults), {}, defaults),
        "options": (euler(from_options), {"mine": option}, lambda: from_options(mine=option)),
        "object": (thing, {}, thing.numbers),
        "method": (thing.__call__, {}, thing.numbers),
        "global": (euler(everybodys), {}, everybodys),
    }


@pytest.mark.parametrize("place", ["closure", "partial", "defaults", "options", "object", "method", "global"])
def test_asking_leaves_generators_alone_wherever_they_are(asked, place):
    drawn = []
    for is_asked in (False, True):
        torch.manual_seed(3), np.random.seed(3), random.seed(3)
        function, options, draw = places()[place]
        Draws.shared.bit_generator.state = np.random.default_rng(4).bit_generator.state
        GLOBAL.manual_seed(9), IN_DEFAULTS.manual_seed(8)
        if is_asked:
            assert ask(asked, function, **options).known
        drawn.append([draw() for _ in range(3)])
    assert drawn[0] == drawn[1]


def test_asking_leaves_the_options_alone(asked):
    kept = {"states": [], "nested": {}}

    def writes(*_, states, nested, **__):
        states.append(1)
        nested["last"] = 1

    assert ask(asked, euler(writes), **kept).known
    assert kept == {"states": [], "nested": {}}


def test_euler_weighs_dsigma(asked):
    (sequence,) = asked.answers["euler"].sequences
    points = asked.sigmas.tolist()
    assert sequence.sigmas == pytest.approx(points[:-1])
    assert sequence.weights == pytest.approx([b - a for a, b in itertools.pairwise(points)], abs=1e-6)
    assert sequence.noise == ()


@pytest.mark.parametrize("name", sorted(DETERMINISTIC - {"dpm_fast"}))
def test_weights_add_up_to_the_whole_way(asked, name):
    """A model that always puts out the same direction is followed all the way down, whatever the sampler."""
    total = sum(weight for sequence in asked.answers[name].sequences for weight in sequence.weights)
    assert total == pytest.approx(-float(asked.sigmas[0] - asked.sigmas[-1]), rel=1e-3)


@pytest.mark.parametrize(("name", "calls"), [("euler", [12]), ("heun", [23]), ("heunpp2", [23, 10]), ("dpm_2", [23])])
def test_calls_in_sequences(asked, name, calls):
    assert [len(sequence.sigmas) for sequence in asked.answers[name].sequences] == calls


def test_what_an_output_weighs_in_the_next_input_under_samplers_that_add_noise(asked):
    """``lcm`` starts each step from the image alone; an ancestral step to no noise gives the image itself."""
    assert asked.answers["euler"].sequences[0].next_weights == ()
    (lcm,), (ancestral,) = (asked.answers[name].sequences for name in ("lcm", "euler_ancestral"))
    following = [*lcm.sigmas[1:], 0.0]
    assert lcm.next_weights == pytest.approx([1 - sigma for sigma in following], abs=1e-5)
    assert ancestral.next_weights[-1] == pytest.approx(1.0)
    assert all(0 < weight < 1 for weight in ancestral.next_weights[:-1])


def test_how_much_noise_stays(asked):
    assert max(asked.answers["lcm"].sequences[0].noise[1:]) < 1e-3
    kept = asked.answers["er_sde"].sequences[0].noise
    assert 0.9 < kept[8] / kept[7] < 1


def test_samplers_that_start_from_the_picture_get_no_weights(asked):
    for name, answer in asked.answers.items():
        if name.endswith("cfg_pp"):
            assert not any(sequence.weights for sequence in answer.sequences), name


def test_asking_leaves_the_schedule_alone(asked):
    """uni_pc writes into the sigmas that it is given."""
    assert float(asked.sigmas[-1]) == 0


def test_asking_leaves_the_random_numbers_alone(asked):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    for name in ("euler_ancestral", "ddpm", "dpmpp_sde"):
        asked.module.probe_sampler(asked.samplers.sampler_object(name), asked.sigmas, asked.guider)
    assert torch.equal(torch.rand(4), expected)


def test_a_sampler_that_raises_is_unknown(asked, caplog):
    def broken(model, x, sigmas, **_more):
        raise RuntimeError("I want a real model")

    answer = asked.module.probe_sampler(asked.samplers.KSAMPLER(broken), asked.sigmas, asked.guider)
    assert answer.kind.value == "unknown"
    assert answer.forecasts_denoised
    assert [sequence.weights for sequence in answer.sequences] == [()]


def test_a_sampler_of_another_kind_is_unknown(asked):
    assert asked.module.probe_sampler(object(), asked.sigmas, asked.guider).kind.value == "unknown"


def test_a_thousand_steps_are_asked_in_seconds(asked):
    sigmas = torch.linspace(1, 0, 1001)
    answer = asked.module.probe_sampler(asked.samplers.sampler_object("euler"), sigmas, asked.guider)
    assert len(answer.sequences[0].sigmas) == 1000
