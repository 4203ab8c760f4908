"""SeaCache on numbers worked out by hand."""

import math

import pytest
import torch
from core.methods import TEN, errors

from dicache_core import CacheConfig
from dicache_core.methods.indicators import indicator_class
from dicache_core.methods.seacache import filtered, gain, noise_to_signal
from dicache_core.observation import Observation


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


def test_the_error_by_hand():
    # sigma 0.5 (n = 1): gains 1, 1 / (1 + 1/4) = 0.8, mean 0.9; sigma 0.4 (n = 2/3): 1, 1 / (1 + 1/9) = 0.9, mean 0.95
    # even parts: 4 / 0.81 and 5 / 0.9025; with nothing else the error is |5 / 0.9025 - 4 / 0.81| / (4 / 0.81)
    found = errors("seacache", (at(5, 4 * EVEN), 1), (at(6, 5 * EVEN), None))
    assert found == [math.inf, pytest.approx((5 / 0.9025) / (4 / 0.81) - 1, rel=1e-5)]


def test_early_noise_counts_less_than_early_structure():
    (_, structure), (_, noise) = (
        errors("seacache", (at(1, EVEN), 1), (at(1, EVEN + moved), None)) for moved in (0.1 * EVEN, 0.1 * STRIPES)
    )
    # sigma 0.9, n = 9: the gain of the stripes is 1 / (1 + 81/4) of that of the even part
    assert (structure, noise) == (pytest.approx(0.1, rel=1e-4), pytest.approx(0.1 / 21.25, rel=1e-4))


def test_it_needs_no_block_and_keeps_one_latent_also_of_steps_that_were_not_measured():
    sea = indicator_class("seacache")(CacheConfig(threshold=1.0))
    assert (sea.stage.name, sea.probes, sea.accumulates) == ("INPUT", 0, True)
    for step in (5, 6):
        sea.follow(at(step, EVEN))  # warm-up: nobody asked for an error
    assert len(sea.held) == 1
    assert torch.equal(sea.previous, filtered(EVEN, noise_to_signal(TEN.step_at(0.4))))
