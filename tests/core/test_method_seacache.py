"""SeaCache on numbers worked out by hand."""

import math
from itertools import pairwise

import pytest
import torch
from core.methods import TEN, errors

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.seacache import CHANNELS_AT_ONCE, SeaCache, filtered, gain, noise_to_signal
from dicache_core.observation import Observation
from dicache_core.timing import Stopwatch


def at(step: int, latent: torch.Tensor) -> Observation:
    return Observation(TEN.step_at(TEN.sigmas[step]), latent=latent)


# (C, H, W) = (1, 2, 2): what is even, and what changes sign from column to column (frequency 1/2 along W)
EVEN = torch.ones(1, 2, 2)
STRIPES = torch.tensor([[[1.0, -1.0], [1.0, -1.0]]])


def test_the_gain_has_mean_1_and_falls_with_frequency():
    # frequencies 0, 1/4, 1/2, 1/4; n = 2, p = 2: 1, 1 / (1 + 4/16) = 0.8, 1 / (1 + 4/4) = 0.5, 0.8; mean 0.775
    assert gain(4, 2.0, 2.0) == pytest.approx([g / 0.775 for g in (1, 0.8, 0.5, 0.8)])
    # p = 3: 1, 1 / (1 + 4/64), 1 / (1 + 4/8)
    assert gain(4, 3.0, 2.0)[2] / gain(4, 3.0, 2.0)[0] == pytest.approx(1 / 1.5)
    assert gain(5, 2.0, 0.0) == [1.0] * 5
    assert gain(1, 2.0, 9.0) == [1.0]


def test_the_ratio_of_noise_to_signal():
    assert noise_to_signal(TEN.step_at(0.8)) == pytest.approx(4)
    assert math.isfinite(noise_to_signal(TEN.step_at(1.0)))


def test_the_filter_on_two_waves():
    # n = 2 at size 2: gains 1 and 1 / (1 + 4/4) = 0.5, mean 0.75: 4/3 and 2/3 along each axis
    assert torch.allclose(filtered(EVEN, 2.0), EVEN * (16 / 9), atol=1e-6)
    assert torch.allclose(filtered(STRIPES, 2.0), STRIPES * (8 / 9), atol=1e-6)
    # a video of one frame: p = 3, 1 / (1 + 4/8) = 2/3, mean 5/6: 6/5 and 4/5
    assert torch.allclose(filtered(STRIPES[:, None], 2.0), STRIPES[:, None] * (6 / 5 * 4 / 5), atol=1e-6)


def test_the_error_of_the_latent_by_hand():
    # sigma 0.5 (n = 1): gains 1, 1 / (1 + 1/4) = 0.8, mean 0.9; sigma 0.4 (n = 2/3): 1, 1 / (1 + 1/9) = 0.9, mean 0.95
    # even parts: 4 / 0.81 and 5 / 0.9025; with nothing else the error is |5 / 0.9025 - 4 / 0.81| / (4 / 0.81)
    found = errors("seacache_latent", (at(5, 4 * EVEN), 1), (at(6, 5 * EVEN), None))
    assert found == [math.inf, pytest.approx((5 / 0.9025) / (4 / 0.81) - 1, rel=1e-5)]


def test_early_noise_of_the_latent_counts_less_than_early_structure():
    (_, structure), (_, noise) = (
        errors("seacache_latent", (at(1, EVEN), 1), (at(1, EVEN + moved), None))
        for moved in (0.1 * EVEN, 0.1 * STRIPES)
    )
    # sigma 0.9, n = 9: the gain of the stripes is 1 / (1 + 81/4) of that of the even part
    assert (structure, noise) == (pytest.approx(0.1, rel=1e-4), pytest.approx(0.1 / 21.25, rel=1e-4))


def test_the_reading_of_the_latent_needs_no_block_and_keeps_one_latent_also_of_steps_that_were_not_measured():
    sea = indicator_class("seacache_latent")(CacheConfig(threshold=1.0))
    assert (sea.stage.name, sea.probes, sea.accumulates) == ("INPUT", 0, True)
    for step in (5, 6):
        sea.follow(at(step, EVEN))  # warm-up: nobody asked for an error
    assert len(sea.held) == 1
    assert torch.equal(sea.previous, filtered(EVEN, noise_to_signal(TEN.step_at(0.4))))


# ---------------------------------------------------------------- as published: the first block's input


def run_of(steps: dict[int, torch.Tensor], **settings) -> list:
    """The decisions of one sample whose modulated input is ``([T,] H, W, D)`` at each of these steps of ten."""
    rules = dict(indicator="seacache", predictor="reuse", warmup_steps=0)
    session = CacheSession(CacheConfig(**rules | settings), TEN)
    decisions = []
    for step, modulated in steps.items():
        h0 = modulated.flatten(0, -2)[None]
        cache = session.forward([SampleKey("one", 0)], TEN.step_at(TEN.sigmas[step]))
        cache.enter(h0, modulated[None])
        cache.rebuild(h0.clone()) if all(cache.decide()) else cache.complete(h0 + 1)
        session.close(cache, Stopwatch(torch.device("cpu")))
        decisions += cache.decisions
    return decisions


def on_grid(*channels: torch.Tensor) -> torch.Tensor:
    """``(1, ...)`` each -> ``(..., D)``."""
    return torch.cat(channels).movedim(0, -1)


def test_its_errors_by_hand_add_up_until_a_step_is_computed():
    # The gain of what is even, along each axis: 1 / mean(1, 1 / (1 + n^2 / 4)).  n = 1, 2/3, 3/7, 1/4 at steps 5 to 8.
    even = [v / (1 - n * n / (8 + 2 * n * n)) ** 2 for v, n in ((4, 1), (5, 2 / 3), (6, 3 / 7), (7, 1 / 4))]
    assert even[:2] == pytest.approx([4 / 0.81, 5 / 0.9025])
    moved = [after / before - 1 for before, after in pairwise(even)]  # 0.122, 0.132, 0.131
    found = run_of({5 + i: on_grid((4.0 + i) * EVEN) for i in range(4)}, threshold=0.2)
    assert [d.error for d in found[1:]] == pytest.approx(moved, rel=1e-5)
    assert [d.reason for d in found] == ["no anchor yet", "reused", "error", "reused"]  # 0.122 + 0.132 is over 0.2
    assert found[2].accumulated == pytest.approx(moved[0] + moved[1], rel=1e-5)


def test_early_noise_of_the_input_counts_less_than_early_structure():
    structure, noise = (
        run_of({1: on_grid(EVEN), 2: on_grid(EVEN * KEEPS_EVEN + moved)}, threshold=9.0)[1].error
        for moved in (0.1 * EVEN, 0.1 * STRIPES)
    )
    # sigma 0.8, n = 4: the gain of the stripes is 1 / (1 + 16/4) of that of the even part
    scale = 0.1 * (GAIN_4 / GAIN_9) ** 2
    assert (structure, noise) == (pytest.approx(scale, rel=1e-4), pytest.approx(scale / 5, rel=1e-4))


GAIN_9, GAIN_4 = 2 / (1 + 1 / 21.25), 2 / (1 + 1 / 5)  # of what is even, along an axis of two values
KEEPS_EVEN = (GAIN_9 / GAIN_4) ** 2  # what is even stays as it is through the filters of both steps


def test_each_channel_is_filtered_on_the_grid():
    step = TEN.step_at(TEN.sigmas[5])  # n = 1: 10/9 and 8/9 along an axis
    seen = SeaCache.view(on_grid(EVEN, STRIPES).half(), step)
    assert seen.dtype == torch.float16
    assert torch.allclose(seen.float(), on_grid(EVEN * (100 / 81), STRIPES * (80 / 81)), atol=1e-3)
    # a video of one frame: p = 3, 1 / (1 + 1/8) = 8/9, mean 17/18: 18/17 and 16/17
    video = SeaCache.view(on_grid(STRIPES[:, None]), step)
    assert torch.allclose(video, on_grid(STRIPES[:, None] * (18 / 17 * 16 / 17)), atol=1e-6)


def test_many_channels_are_as_each_alone():
    x = torch.arange(2 * CHANNELS_AT_ONCE + 1.0).view(-1, 1, 1) * (EVEN + STRIPES)
    assert torch.equal(filtered(x, 2.0), torch.cat([filtered(channel, 2.0) for channel in x.split(1)]))


def test_few_probe_tokens_are_of_the_whole_filtered_grid():
    """A filter over the only token that is kept would be none, and the error 0.25."""
    found = run_of({5: on_grid(4 * EVEN), 6: on_grid(5 * EVEN)}, threshold=9.0, probe_tokens=1)
    assert found[1].error == pytest.approx((5 / 0.9025) / (4 / 0.81) - 1, rel=1e-5)
