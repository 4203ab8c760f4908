"""WorldCache on numbers worked out by hand."""

import math

import pytest
import torch
from core.methods import TEN, errors, forecast, rebuilt, recorded, seen

from dicache_core import CacheConfig
from dicache_core.methods.predictors import predictor_class
from dicache_core.methods.worldcache import relaxation, salience
from dicache_core.observation import Observation
from dicache_core.schedule import Schedule

RELAXED = 1 + (100 / 1225 / 6 + 1 / 7 + 10 / 3) * 0.2  # of step 2 of 10: u = 10/35


def test_salience():
    # deviations over two channels: 0, 1 and 2 times sqrt(2)
    h = torch.tensor([[3.0, 3.0], [0.0, 2.0], [-2.0, 2.0]])
    assert salience(h).tolist() == pytest.approx([0, 0.5, 1], abs=1e-5)
    assert salience(torch.ones(3, 2)).tolist() == [0, 0, 0]


def test_late_steps_may_drift_further():
    # at u = 1 (35 steps): m = 1/6 + 1/2 + 10/3 = 4
    step = Schedule(tuple(1 - i / 35 for i in range(36))).step_at(1 - 7 / 35)
    assert relaxation(step) == pytest.approx(1 + 4 * 0.2)
    assert relaxation(TEN.step_at(1.0)) == 1


def test_the_error_by_hand():
    # probe 2 -> 3 -> 3.3 (flat tokens, no salience): drifts 0.5 and 0.1; input 10 -> 11: 0.1 -> factor 1.2, then still
    steps = [(seen(1, 10, 2), 1), (seen(2, 11, 3), None), (seen(3, 11, 3.3), None)]
    found = errors("worldcache", *steps)
    assert found[0] == math.inf
    assert found[1] == pytest.approx(0.5 * 1.2 / RELAXED)
    assert found[2] == pytest.approx(0.6 / (1 + (RELAXED - 1) * 1.5), rel=1e-5)
    # a computed step in between starts again
    assert errors("worldcache", steps[0], (steps[1][0], 1), steps[2])[2] == pytest.approx(
        0.1 / (1 + (RELAXED - 1) * 1.5), rel=1e-5
    )


def test_busy_tokens_count_double():
    def at(step, hm):
        return Observation(TEN.step_at(TEN.sigmas[step]), h0=torch.ones(2, 2), hm=torch.tensor(hm))

    before = [[2.0, 2.0], [0.0, 4.0]]  # saliences 0 and 1; magnitudes sum to 8
    for after, drift in (([[3.0, 3.0], [0.0, 4.0]], 2 / 8), ([[2.0, 2.0], [1.0, 5.0]], 4 / 8)):
        found = errors("worldcache", (at(1, before), 1), (at(2, after), None))
        assert found[1] == pytest.approx(drift / RELAXED, rel=1e-5)


@pytest.mark.parametrize(
    ("q", "residual"),
    [
        (2.5, 9.5),  # (2.5 - 1) / (2 - 1) = 1.5: 5 + 1.5 * 3
        (1.4, 6.2),  # 0.4: it may also go back
        (9.0, 10.4),  # 1.8 at most
        (-9.0, 5.6),  # 0.2 at least
        (math.nan, 8.0),  # reuse
    ],
)
def test_gamma_by_hand(q, residual):
    anchors = [(seen(0, 10, 11), 5), (seen(1, 10, 12), 8)]
    assert rebuilt("least_squares_gamma", anchors, seen(2, 10, 10 + q)) == pytest.approx(residual, rel=1e-5)


def probe(step: int, q: tuple[float, float]) -> Observation:
    return Observation(TEN.step_at(TEN.sigmas[step]), h0=torch.zeros(1, 2), hm=torch.tensor([q]))


def test_gamma_sees_the_direction():
    """A probe that moved as far, but across its line, says: stay at the older one, as far as 0.2 allows."""
    anchors = [(0.0, 0.0), (2.0, 0.0)]
    predictor = predictor_class("least_squares_gamma")(CacheConfig(threshold=1.0))
    for step, q in enumerate(anchors):
        predictor.record(probe(step, q), torch.tensor([[10.0 * step]]))
    across = probe(2, (0.0, 2.0))
    assert forecast(predictor, across, (1, 1)).item() == pytest.approx(2.0)


def test_one_anchor_a_still_probe_and_slots():
    assert rebuilt("least_squares_gamma", [(seen(0, 1, 2), 5)], seen(1, 1, 9)) == 5
    still = [(seen(0, 1, 2), 5), (seen(1, 1, 2), 8)]
    assert rebuilt("least_squares_gamma", still, seen(2, 1, 9)) == 8
    predictor = recorded("least_squares_gamma", [(seen(i, 0, i), i) for i in range(5)] + [(seen(4, 0, 7), 7)])
    assert len(predictor.held) == predictor.residuals + predictor.probes == 4
    out = torch.empty(2, 2)
    predictor.preview(seen(5, 0, 9), out)  # anchors 3 (q 3) and 7 (q 7): gamma 1.5
    assert out[0, 0] == 9
