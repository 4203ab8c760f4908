"""The memory account at real sizes, on tensors without memory (torch's "meta" device)."""

import pytest
import torch
from core.toys import session

from dicache_core import CacheConfig, SampleKey, expected_bytes, fits

# image tokens and width: (H/8/2) (W/8/2) of a picture, (frames+3)/4 (H/16) (W/16) of a video
REAL = {
    "Flux 1024x1024": (64 * 64, 3072),
    "HunyuanVideo 720p, 129 frames": (33 * 45 * 80, 3072),
    "Wan 14B 720p, 81 frames": (21 * 45 * 80, 5120),
}


def held(tokens, width, batch=1, **settings):
    """Bytes of everything that is kept after three computed steps."""
    run = session(warmup_steps=9, **settings)
    for step in range(3):
        state = torch.empty(batch, tokens, width, dtype=torch.bfloat16, device="meta")
        keys = [SampleKey("cond", row) for row in range(batch)]
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]))
        cache.enter(state)
        cache.probe(state)
        cache.complete(state)
    tensors = [t for sample in cache.samples for t in sample.held]
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("indicator", ["delta_y", "delta_minus"])
def test_two_residuals_and_under_5_percent_of_one(name, indicator):
    tokens, width = REAL[name]
    residual = tokens * width * 2
    assert held(tokens, width, indicator=indicator) < 2.05 * residual
    assert held(tokens, width, indicator=indicator) >= 2 * residual


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("settings", [{}, {"predictor": "reuse"}, {"indicator": "delta_minus"}, {"probe_tokens": 100}])
@pytest.mark.parametrize("bits", [16, 8])
def test_the_formula_is_what_is_held(name, settings, bits):
    tokens, width = REAL[name]
    settings = {**settings, "residual_bits": bits}
    formula = expected_bytes(CacheConfig(threshold=0.5, **settings), tokens, width, torch.bfloat16, batch=2)
    assert held(tokens, width, batch=2, **settings) == pytest.approx(formula, rel=1e-3)


def test_figures_by_hand():
    config = CacheConfig(threshold=0.4)
    # two residuals of 4096 tokens and three probes of 48, 3072 channels of two bytes
    assert expected_bytes(config, 4096, 3072, torch.bfloat16) == (2 * 4096 + 3 * 48) * 3072 * 2 == 51_216_384
    assert expected_bytes(config, 4096, 3072, torch.bfloat16, batch=3) == 3 * 51_216_384
    packed = expected_bytes(CacheConfig(threshold=0.4, residual_bits=8), 4096, 3072, torch.bfloat16)
    assert packed == 2 * 4096 * (3072 + 2) + 3 * 48 * 3072 * 2
    assert expected_bytes(config, 118_800, 3072, torch.bfloat16) == (2 * 118_800 + 3 * 1414) * 3072 * 2
    # up to 1024 tokens the probe is kept on all of them
    assert expected_bytes(config, 1024, 3072, torch.float32) == 5 * 1024 * 3072 * 4


def test_fits_leaves_some_room():
    assert fits(100, 120)
    assert not fits(100, 105)
    assert not fits(1, -5)
