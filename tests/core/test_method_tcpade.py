"""The rational forecast on numbers worked out by hand."""

import math

import pytest
import torch
from core.methods import forecast, rebuilt, recorded, seen


def damped(newest: float, older: float, moved: float) -> float:
    """``moved`` ahead of ``newest``, times the stability: values all alike, so that norms are absolute values."""
    return newest + math.exp(-10 * abs(newest - older) / abs(newest + older)) * moved


def test_a_movement_that_slows_down_is_forecast_to_go_on_slowing():
    # 0, 8, 12: movements 8 and 4: q = (12 - 2 * 4) / (2 * 8) = 1/4, m = 4 (1 - 1/4) = 3; at h = 1: 3 / (1 + 1/4) = 2.4
    anchors = [(seen(1), 0), (seen(2), 8), (seen(3), 12)]
    assert rebuilt("tc_pade", anchors, seen(4)) == pytest.approx(damped(12, 8, 2.4))
    # h = 3: 3 * 3 / (1 + 3/4)
    assert rebuilt("tc_pade", anchors, seen(6)) == pytest.approx(damped(12, 8, 9 / 1.75))


def test_uneven_steps():
    # times 1, 5, 7, values 1 / (1 + time): a rational function is met exactly but for the damping; h in gaps of 2
    values = {t: 1 / (1 + t) for t in (1, 5, 7, 8)}
    expected = damped(values[7], values[5], values[8] - values[7])
    found = rebuilt("tc_pade", [(seen(t), values[t]) for t in (1, 5, 7)], seen(8))
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("anchors", "moved"),
    [
        ((1, 2, 3), 1),  # a line: q = 0
        ((0, 1, 4), 3),  # speeding up would have a pole ahead: the line serves
        ((1, 3, 1), 0),  # turned around: held
        ((2, 2, 3), 1),  # stood still before
        ((2, 2, 2), 0),
    ],
)
def test_no_pole_is_ever_met(anchors, moved):
    found = rebuilt("tc_pade", [(seen(i + 1), v) for i, v in enumerate(anchors)], seen(4))
    assert found == pytest.approx(damped(anchors[2], anchors[1], moved))


def test_while_structure_forms_and_with_one_step_it_reuses():
    assert rebuilt("tc_pade", [(seen(0), 1), (seen(1), 2)], seen(2)) == 2
    assert rebuilt("tc_pade", [(seen(3), 5)], seen(4)) == 5
    assert rebuilt("tc_pade", [(seen(2), 4), (seen(3), 5)], seen(4)) == pytest.approx(damped(5, 4, 1))


def test_zeros_and_slots():
    predictor = recorded("tc_pade", [(seen(i), torch.zeros(2, 2)) for i in range(5)])
    assert torch.equal(forecast(predictor, seen(5)), torch.zeros(2, 2))
    assert len(predictor.held) == 3
