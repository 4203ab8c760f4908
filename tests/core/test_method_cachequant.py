"""CacheQuant's correction on numbers worked out by hand."""

import pytest
import torch
from core.methods import forecast, rebuilt, recorded, seen

from dicache_core.methods.cachequant import scale_and_shift

# (T, D): channel 0 goes 1, 3 -> 3, 7: slope 2, shift 1; channel 1 stands at 5 -> 6: no spread, so moved by 1
OLDER = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
NEWER = torch.tensor([[3.0, 6.0], [7.0, 6.0]])


def test_the_line_per_channel():
    scale, shift = scale_and_shift(OLDER, NEWER)
    assert scale.tolist() == [2, 1]
    assert shift.tolist() == [1, 1]


def test_the_forecast_by_hand():
    anchors = [(seen(0), OLDER), (seen(2), NEWER)]
    # two steps ahead, the gap that was learnt over: 2 * 3 + 1, 2 * 7 + 1; 6 + 1
    found = forecast(recorded("channel_correction", anchors), seen(4))
    assert torch.allclose(found, torch.tensor([[7.0, 7.0], [15.0, 7.0]]), rtol=1e-4)
    # one step, half of it: 1.5 * 3 + 0.5, 1.5 * 7 + 0.5; 6 + 0.5
    found = forecast(recorded("channel_correction", anchors), seen(3))
    assert torch.allclose(found, torch.tensor([[5.0, 6.5], [11.0, 6.5]]), rtol=1e-4)


def test_one_step_is_reused_and_one_residual_is_kept():
    assert rebuilt("channel_correction", [(seen(0), 4)], seen(2)) == 4
    predictor = recorded("channel_correction", [(seen(i), i) for i in range(5)])
    assert [tuple(t.shape) for t in predictor.held] == [(2,), (2,), (2, 2)]


def test_the_same_moment_twice_teaches_nothing():
    predictor = recorded("channel_correction", [(seen(0), 1), (seen(1), 2), (seen(1), 9)])
    assert predictor.learnt[1].tolist() == pytest.approx([1, 1])
    assert forecast(predictor, seen(2))[0, 0].item() == pytest.approx(10, rel=1e-4)
