"""What a sampler does with the model's outputs, asked of every sampler of the host."""

import itertools
import sys
from types import SimpleNamespace

import pytest
import torch

NOISY = {
    "euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", "ddpm",
    "lcm", "er_sde", "seeds_2", "seeds_3", "sa_solver", "res_multistep_ancestral",
}  # fmt: skip
PLAIN = {
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
    module, samplers = sys.modules[f"{pack.__name__}.model_patchers.sampler"], comfy.module("comfy.samplers")
    sampling = comfy.load_model("flux").get_model_object("model_sampling")
    sigmas = samplers.calculate_sigmas(sampling, "beta", STEPS)
    ask = lambda name: module.ask(samplers.sampler_object(name), sigmas, sampling)  # noqa: E731
    return SimpleNamespace(
        answers={name: ask(name) for name in samplers.SAMPLER_NAMES}, sigmas=sigmas, sampling=sampling, module=module,
        samplers=samplers,
    )  # fmt: skip


def conduct(asked, name: str) -> str:
    return asked.answers[name].conduct.value


def test_every_sampler_can_be_asked(asked):
    found = {name: answer.conduct.value for name, answer in asked.answers.items()}
    assert "unknown" not in found.values()
    assert {name for name, kind in found.items() if kind == "erratic"} == {"dpm_adaptive"}
    assert all(found[name] == "noisy" for name in NOISY)
    assert all(found[name] == "plain" for name in PLAIN)


def test_euler_weighs_dsigma(asked):
    (lane,) = asked.answers["euler"].lanes
    points = asked.sigmas.tolist()
    assert lane.sigmas == pytest.approx(points[:-1])
    assert lane.weights == pytest.approx([b - a for a, b in itertools.pairwise(points)], abs=1e-6)
    assert lane.noise == ()


@pytest.mark.parametrize("name", sorted(PLAIN - {"dpm_fast"}))
def test_weights_add_up_to_the_whole_way(asked, name):
    """A model that always puts out the same direction is followed all the way down, whatever the sampler."""
    total = sum(weight for lane in asked.answers[name].lanes for weight in lane.weights)
    assert total == pytest.approx(-float(asked.sigmas[0] - asked.sigmas[-1]), rel=1e-3)


@pytest.mark.parametrize(("name", "calls"), [("euler", [12]), ("heun", [23]), ("heunpp2", [23, 10]), ("dpm_2", [23])])
def test_calls_in_lanes(asked, name, calls):
    assert [len(lane.sigmas) for lane in asked.answers[name].lanes] == calls


def test_how_much_noise_stays(asked):
    assert max(asked.answers["lcm"].lanes[0].noise[1:]) < 1e-3
    kept = asked.answers["er_sde"].lanes[0].noise
    assert 0.9 < kept[8] / kept[7] < 1


def test_samplers_that_start_from_the_picture_get_no_weights(asked):
    for name, answer in asked.answers.items():
        if name.endswith("cfg_pp"):
            assert not any(lane.weights for lane in answer.lanes), name


def test_asking_leaves_the_schedule_alone(asked):
    """uni_pc writes into the sigmas that it is given."""
    assert float(asked.sigmas[-1]) == 0


def test_asking_leaves_the_random_numbers_alone(asked):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    for name in ("euler_ancestral", "ddpm", "dpmpp_sde"):
        asked.module.ask(asked.samplers.sampler_object(name), asked.sigmas, asked.sampling)
    assert torch.equal(torch.rand(4), expected)


def test_a_sampler_that_raises_is_unknown(asked, caplog):
    def broken(model, x, sigmas, **_more):
        raise RuntimeError("I want a real model")

    answer = asked.module.ask(asked.samplers.KSAMPLER(broken), asked.sigmas, asked.sampling)
    assert answer.conduct.value == "unknown"
    assert answer.forecasts_denoised
    assert [lane.weights for lane in answer.lanes] == [()]


def test_a_sampler_of_another_kind_is_unknown(asked):
    assert asked.module.ask(object(), asked.sigmas, asked.sampling).conduct.value == "unknown"


def test_a_thousand_steps_are_asked_in_seconds(asked):
    sigmas = torch.linspace(1, 0, 1001)
    answer = asked.module.ask(asked.samplers.sampler_object("euler"), sigmas, asked.sampling)
    assert len(answer.lanes[0].sigmas) == 1000
