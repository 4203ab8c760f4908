"""The forecast method under samplers that add noise, on toys whose answers are worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch

from dicache_core import CacheConfig, CacheSession
from dicache_core.methods import noise_forecast
from dicache_core.methods.error_estimate import MULTISTEP
from dicache_core.methods.noise_forecast import NoiseForecast, NoiseRule, for_schedule
from dicache_core.methods.rings import LONGEST, RINGS, Rings
from dicache_core.observation import Observation
from dicache_core.presets import own_config
from dicache_core.run_statistics import SampleKey
from dicache_core.schedule import CallSequence, Schedule

STEPS = 30
SIGMAS = tuple(1 - i / STEPS for i in range(STEPS + 1))
NOISE = tuple(0.8**i for i in range(STEPS))
SHAPE = (4, 6, 6)


def noisy(next_weight: float = 0.3) -> Schedule:
    """30 even steps of a sampler that adds noise; each output weighs the same in the next call's ``x``."""
    sequence = CallSequence(SIGMAS[:-1], (0.0,) * 29 + (1.0,), NOISE, (next_weight,) * 29 + (1.0,))
    return Schedule(SIGMAS, sequences=(sequence,), predicts_denoised=True)


PLAN = noisy()


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*(shape or SHAPE), generator=torch.Generator().manual_seed(seed))


def seen(index: int, latent: torch.Tensor) -> Observation:
    return Observation(PLAN.step_at(SIGMAS[index]), latent)


def next_x(before: Observation, value: torch.Tensor, index: int, innovation: torch.Tensor) -> Observation:
    """What the sampler shows at call ``index`` where ``innovation`` is all that is new since ``before``."""
    step = PLAN.step_at(SIGMAS[index])
    noise = (before.latent - before.step.alpha * value) / before.step.sigma
    return Observation(step, step.alpha * value + step.sigma * noise + innovation)


def forecast_of(predictor: NoiseForecast, obs: Observation) -> torch.Tensor:
    predictor.plan(obs, [])
    out = torch.empty(SHAPE)
    predictor.forecast(out)
    return out


# Rings


@pytest.mark.parametrize("shape", [(3, 8, 6), (2, 7), (2, 3, 4, 5), (4, 1, 6, 6)], ids=str)
def test_rings_filter_as_the_fourier_transform_does(shape):
    values, gains = drawn(1, *shape), torch.rand(RINGS, generator=torch.Generator().manual_seed(2))
    rings = Rings(torch.Size(shape), values.device)
    axes = [axis for axis in range(1, len(shape)) if shape[axis] > 1]
    heights = torch.meshgrid(*(torch.fft.fftfreq(n).abs() * 2 for n in shape[1:]), indexing="ij")
    radius = (sum(height.square() for height in heights) / len(axes)).sqrt()
    expected = torch.fft.ifftn(
        torch.fft.fftn(values, dim=axes) * gains[(radius * RINGS).long().clamp(max=RINGS - 1)], dim=axes
    ).real
    assert torch.allclose(rings.transform(rings.transform(values) * rings.spread(gains)), expected, atol=1e-5)


def test_a_transform_keeps_products_and_is_its_own_inverse():
    a, b = drawn(1), drawn(2)
    rings = Rings(torch.Size(SHAPE), a.device)
    products = rings.sums((rings.transform(a) * rings.transform(b))[None])
    assert products.shape == (1, RINGS)
    assert float(products.sum()) == pytest.approx(float((a * b).sum()), rel=1e-4)
    assert torch.allclose(rings.transform(rings.transform(a)), a, atol=1e-5)


def test_the_mean_of_each_channel_is_the_first_ring():
    rings = Rings(torch.Size(SHAPE), torch.device("cpu"))
    sums = rings.sums(rings.transform(torch.ones(SHAPE)).square()[None])[0]
    assert float(sums[0]) == pytest.approx(math.prod(SHAPE), rel=1e-5)
    assert float(sums[1:].abs().max()) < 1e-6


@pytest.mark.parametrize("shape", [(5,), (2, LONGEST + 1)], ids=str)
def test_without_an_axis_to_look_along_all_is_one_ring(shape):
    rings, values = Rings(torch.Size(shape), torch.device("cpu")), drawn(3, *shape)
    assert torch.equal(rings.transform(values), values)
    assert float(rings.sums(values.square()[None])[0, 0]) == pytest.approx(float(values.square().sum()), rel=1e-5)


def test_a_shape_without_channels_is_refused():
    with pytest.raises(ValueError, match="channels"):
        Rings(torch.Size(()), torch.device("cpu"))


# The forecast


def test_without_new_noise_nothing_is_new():
    predictor, value = NoiseForecast(CacheConfig()), drawn(1)
    first = seen(10, drawn(2))
    predictor.record(first, value)
    assert predictor._innovation(next_x(first, value, 11, torch.zeros(SHAPE))).abs().max() < 1e-5
    news = drawn(3)
    assert torch.allclose(predictor._innovation(next_x(first, value, 11, news)), news, atol=1e-5)


def test_what_the_model_lets_through_is_learnt_and_carried_to_another_noise_level():
    """At call 20 of 30 the toy lets 0.3 of the new noise through; ``a J`` and so the prior follow by hand."""
    predictor, value = NoiseForecast(CacheConfig()), drawn(1)
    first, news = seen(19, drawn(2)), drawn(3)
    predictor.record(first, value)
    second = next_x(first, value, 20, news)
    predictor.record(second, value + 0.3 * news)
    alpha, sigma = second.step.alpha, second.step.sigma
    prior = 0.3 * alpha / (1 - 0.3 * alpha) * (sigma / alpha) ** 2
    assert torch.allclose(predictor.prior, torch.full((RINGS,), prior), rtol=1e-3)
    third = next_x(second, value + 0.3 * news, 21, drawn(4))
    alpha, sigma = third.step.alpha, third.step.sigma
    through = alpha * prior / (alpha**2 * prior + sigma**2)
    predictor.errors = torch.tensor([9.0, 9.0, 1.0, 9.0, 9.0])  # as if the innovation alone had been best
    expected = value + 0.3 * news + through * drawn(4)
    assert torch.allclose(forecast_of(predictor, third), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("answer", "best"),
    [
        pytest.param(lambda value, news, step: drawn(1) + (-1) ** step.call_index * drawn(7), 0, id="held"),
        pytest.param(lambda value, news, step: drawn(1) + step.log_snr * drawn(7), 1, id="line"),
        pytest.param(lambda value, news, step: value + 0.3 * news, 2, id="innovation"),
        pytest.param(lambda value, news, step: value + news, 4, id="direction held"),
    ],
)
def test_every_computed_call_audits_all_ways_and_the_best_is_used_next(answer, best):
    predictor, value = NoiseForecast(CacheConfig()), drawn(1) + PLAN.step_at(SIGMAS[15]).log_snr * drawn(7)
    obs = seen(15, drawn(2))
    predictor.record(obs, value)
    for index in range(16, 21):
        news = drawn(20 + index) if best else torch.zeros(SHAPE)
        obs = next_x(obs, value, index, news)
        value = answer(value, news, obs.step)
        predictor.record(obs, value.clone())
    assert int(predictor.errors.argmin()) == best


def test_what_skipped_calls_were_off_by_is_added_to_the_next_output():
    """One call skipped halfway (in log-SNR) between two: it was off by that share of what the second one was."""
    predictor, value = NoiseForecast(CacheConfig()), drawn(1)
    first = seen(20, drawn(2))
    predictor.record(first, value)
    skipped = next_x(first, value, 21, torch.zeros(SHAPE))
    assert torch.equal(forecast_of(predictor, skipped), value)  # before any audit what came last is held
    computed, came = next_x(first, value, 22, torch.zeros(SHAPE)), value + drawn(5)
    predictor.record(computed, came.clone())
    place = [PLAN.step_at(SIGMAS[i]) for i in (20, 21, 22)]
    share = (place[1].log_snr - place[0].log_snr) / (place[2].log_snr - place[0].log_snr)
    expected = share * place[1].image_share / place[2].image_share
    out = came.clone()
    assert predictor.correct(out)
    assert torch.allclose(out, came + expected * drawn(5), atol=1e-5)
    assert not predictor.correct(out)
    left = MULTISTEP * PLAN.noise_share(SIGMAS[22])  # values weigh other than the way to the next call
    assert torch.allclose(computed.displaced, left * place[1].image_share * drawn(5), atol=1e-5)


def test_an_output_with_nothing_skipped_before_it_is_left_as_it_is():
    predictor = NoiseForecast(CacheConfig())
    for index in (20, 21):
        predictor.record(seen(index, drawn(index)), drawn(index + 50))
    assert not predictor.correct(torch.zeros(SHAPE))


def test_three_latents_are_held_and_the_filter():
    predictor = NoiseForecast(CacheConfig())
    for index in (20, 21, 22):
        predictor.record(seen(index, drawn(index)), drawn(index + 50))
    full = [tensor for tensor in predictor.held if tensor.shape == SHAPE]
    assert len(full) == 3
    assert torch.equal(predictor.held[-1], drawn(72))
    assert sum(tensor.nbytes for tensor in predictor.held) < 4 * full[0].nbytes


# The plan


def run(target: str, moves: float, schedule: Schedule = PLAN) -> list[tuple[bool, str]]:
    """Decisions of a run whose model's answers differ by so much of the image's spread, less and less to the end."""
    session = CacheSession(own_config(target, "flux"), schedule)
    generator, found = torch.Generator().manual_seed(0), []
    for index, sigma in enumerate(schedule.sigmas[:-1]):
        new, x = (torch.randn(1, *SHAPE, generator=generator) for _ in range(2))
        value = drawn(1)[None] + moves * (1 - index / STEPS) * new
        cache = session.forward([SampleKey("cond", 0)], schedule.step_at(sigma), x)
        if all(cache.decide()):
            cache.forecast()
        else:
            cache.observe(value.clone(), value.clone())
        found += [(d.reuse, d.reason) for d in cache.decisions]
    return found


def skipped(found: list[tuple[bool, str]]) -> list[int]:
    return [index for index, (reuse, _) in enumerate(found) if reuse]


def test_nothing_is_skipped_in_the_first_part_nor_two_calls_in_a_row():
    calls = skipped(run("3x", 0.01))
    assert calls
    assert min(calls) >= STEPS * noise_forecast.FIRST_PART
    assert not any(call + 1 in calls for call in calls)
    assert STEPS - 1 not in calls


def test_where_few_calls_are_skipped_late_ones_may_be_two_in_a_row():
    calls = skipped(run("1.5x", 0.01))
    pairs = [call for call in calls if call + 1 in calls]
    assert pairs
    assert min(pairs) + 1 >= STEPS * noise_forecast.LAST_PART
    assert not any({call, call + 1, call + 2} <= set(calls) for call in calls)


def test_late_calls_are_skipped_first():
    few, more = (skipped(run("1.5x", moves)) for moves in (0.5, 0.2))
    assert 0 < len(few) < len(more)
    assert min(few) > min(more)
    assert max(few) >= STEPS - 3


def test_presets_differ_in_what_they_allow():
    counts = [len(skipped(run(target, 0.5))) for target in ("1.5x", "2x", "3x")]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


def test_a_model_that_jumps_is_computed():
    assert not skipped(run("3x", 30.0))


def test_nothing_is_skipped_before_two_audits():
    late = replace(PLAN, steps_before=20)  # the second part of a run: nothing of it is the first part
    found = run("3x", 0.001, late)
    assert [reason for _, reason in found[:3]] == ["no anchor yet", "no audit yet", "no audit yet"]
    assert skipped(found)


def test_a_sampler_whose_outputs_weigh_more_is_skipped_less():
    light, heavy = (len(skipped(run("1.5x", 0.3, noisy(weight)))) for weight in (0.2, 0.9))
    assert heavy < light


def test_the_estimate_by_hand():
    predictor = NoiseForecast(CacheConfig())
    estimator = predictor.error_estimator
    output = torch.ones(4)
    estimator.compute(output, output, torch.tensor(0.04), 0.5)
    assert not estimator.audited
    estimator.compute(output, output, torch.tensor(0.04), 0.5)
    assert estimator.audited
    estimator.load_sums([float(tensor) for tensor in estimator.measure()])
    expected = noise_forecast.AMPLIFIED * math.sqrt(0.04 * (0.09 + 0.04) / 4) ** noise_forecast.SATURATION
    assert estimator.latent_error_of([0.3, 0.2]) == pytest.approx(expected)


def test_what_moves_before_a_leap_to_next_to_no_noise_is_estimated_too():
    """As dpmpp_2s_ancestral ends with the scheduler normal: pairs of calls, and from noise to none at once."""
    sigmas = (1.0, 0.6, 0.59, 0.25, 0.24, 0.0011, 0.001, 0.0)
    sequence = CallSequence(sigmas[:-1], (0.0,) * 6 + (1.0,), tuple(0.4**i for i in range(7)), (0.9,) * 6 + (1.0,))
    plan = Schedule(sigmas, sequences=(sequence,), predicts_denoised=True)
    predictor, x, value = NoiseForecast(CacheConfig()), drawn(1), drawn(2)
    for call in range(5):
        predictor.record(Observation(plan.step_at(sigmas[call]), x, denoised=value), value + 0.01 * drawn(3 + call))
    predictor.error_estimator.load_sums([float(tensor) for tensor in predictor.error_estimator.measure()])
    last, leap = plan.step_at(0.24), plan.step_at(0.0011)
    way = (leap.log_snr - last.log_snr) / (last.log_snr - plan.step_at(0.25).log_snr)
    off_by = 0.014 * 0.5 * way  # at half the pace of the audit, which was off by 0.01 sqrt(2)
    expected = noise_forecast.AMPLIFIED * (0.9 * off_by) ** noise_forecast.SATURATION
    assert predictor.latent_error(leap) == pytest.approx(expected, rel=0.2)
    assert predictor.latent_error(leap) > CacheConfig(target="1.5x", adaptive=True).allowed_latent_error(30)


# Which runs it is for


def test_only_the_forecast_presets_under_samplers_that_add_noise_use_it():
    own, plain = own_config("2x", "flux"), Schedule(SIGMAS)
    assert for_schedule(own, plain) is own
    found = for_schedule(own, PLAN)
    assert (found.indicator, found.predictor, found.target) == (NoiseRule.name, NoiseForecast.name, "2x")
    assert for_schedule(own_config("12", "flux"), PLAN).target == "12"
    paper = CacheConfig()
    assert for_schedule(paper, PLAN) is paper


def test_where_some_of_the_first_noise_is_kept_all_is_computed():
    """0.9^29 = 0.047 of it is there at the last call, 0.8^29 = 0.0015 in the plan of the other tests."""
    own, (calls,) = own_config("2x", "flux"), PLAN.sequences
    kept = Schedule(
        SIGMAS, sequences=(replace(calls, noise=tuple(0.9**i for i in range(STEPS))),), predicts_denoised=True
    )
    assert for_schedule(own, kept) is own
    reasons = {reason for _, reason in run("2x", 0.0, kept)}
    assert reasons == {"warm-up", "new noise", "last step"}


def test_a_part_of_a_schedule_may_keep_more_of_its_first_noise():
    """0.15 kept over half of the schedule is 0.15^2 = 0.0225 over all of it, and 0.12 is 0.0144."""
    own, (calls,) = own_config("2x", "flux"), PLAN.sequences
    for kept, served in ((0.15, False), (0.12, True)):
        noise = (*calls.noise[:-1], kept)
        part = replace(PLAN, sequences=(replace(calls, noise=noise),), steps_before=PLAN.steps)
        assert (for_schedule(own, part) is not own) == served


def test_what_people_are_told_of_the_method_stays():
    session = CacheSession(own_config("2x", "flux"), PLAN)
    assert session.config.predictor == NoiseForecast.name
    assert session.statistics.config == own_config("2x", "flux")
