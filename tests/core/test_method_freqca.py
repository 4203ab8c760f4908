"""FreqCa on numbers worked out by hand."""

import pytest
import torch
from core.methods import forecast, recorded, seen

from dicache_core.methods.freqca import low_frequencies

TOKENS = 40  # frequencies 0 to 20 of the row; up to 2 they are low
PLACES = torch.arange(TOKENS)[:, None] / TOKENS


def wave(cycles: int) -> torch.Tensor:
    return torch.cos(2 * torch.pi * cycles * PLACES).repeat(1, 3)  # (T, 3)


@pytest.mark.parametrize(("cycles", "low"), [(0, 1), (2, 1), (3, 0), (20, 0)])
def test_what_is_low(cycles, low):
    assert torch.allclose(low_frequencies(wave(cycles)), low * wave(cycles), atol=1e-5)


def test_low_is_reused_and_high_is_forecast():
    # both waves 0, 1, 4: the slow one stays 4; s^2 = 0.5041: h1 = 1.0082, h2 / 2 = 0.5041 (2 * 0.5041 - 1)
    predictor = recorded("freqca", [(seen(i), i * i * (wave(1) + wave(7))) for i in range(3)])
    ahead = 4 + 2 * 0.71**2 * 3 + 0.71**2 * (2 * 0.71**2 - 1) * 2
    found = forecast(predictor, seen(3), (TOKENS, 3))
    assert torch.allclose(found, 4 * wave(1) + ahead * wave(7), atol=1e-4)


def test_a_single_step_is_reused_and_slots_hold():
    predictor = recorded("freqca", [(seen(0), wave(7))])
    assert torch.allclose(forecast(predictor, seen(3), (TOKENS, 3)), wave(7), atol=1e-6)
    assert len(recorded("freqca", [(seen(i), wave(i)) for i in range(5)]).held) == 3
