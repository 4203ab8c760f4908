"""How: the predictors on numbers worked out by hand."""

import math

import pytest
import torch
from core.toys import hidden

from dicache_core import CacheConfig
from dicache_core.methods.predictors import predictor_class
from dicache_core.observation import Observation
from dicache_core.schedule import Schedule

STEP = Schedule((1.0, 0.5, 0.0)).step_at(1.0)


def probe(q: float) -> Observation:
    """An observation whose probe residual is ``q`` everywhere."""
    return Observation(STEP, h0=hidden(10.0)[0], hm=hidden(10.0 + q)[0])


def rebuilt(name: str, anchors: list[tuple[float, float]], q: float, gamma_max: float = 2.0) -> tuple[float, float]:
    """(gamma, R) of a step whose probe residual is ``q``, after computed steps of (probe residual, residual)."""
    predictor = predictor_class(name)(CacheConfig(threshold=1.0, gamma_max=gamma_max))
    assert not predictor.ready
    for anchor_q, residual in anchors:
        predictor.record(probe(anchor_q), hidden(residual)[0])
    assert predictor.ready
    now, out = probe(q), torch.empty(2, 2)
    gamma = predictor.plan(now, [s.item() for s in predictor.measure(now)])
    predictor.forecast(out)
    assert out.std() == 0
    return gamma, out[0, 0].item()


@pytest.mark.parametrize(
    ("anchors", "q", "gamma", "residual"),
    [
        ([(1, 5), (2, 8)], 2.5, 1.5, 9.5),  # |2.5-1| / |2-1| = 1.5: 5 + 1.5 * 3
        ([(1, 5), (2, 8)], 1.5, 1.0, 8.0),  # 0.5, clipped to 1: plain reuse of the newer
        ([(1, 5), (2, 8)], 9.0, 2.0, 11.0),  # 8, clipped to gamma_max
        ([(1, 5), (2, 8)], -1.0, 2.0, 11.0),  # a distance has no sign
        ([(7, 7), (1, 5), (2, 8)], 2.5, 1.5, 9.5),  # only the last two count
        ([(1, 5)], 2.5, 1.0, 5.0),  # one anchor: plain reuse
        ([(1, 5), (1, 8)], 2.5, 1.0, 8.0),  # the probe stood still: plain reuse
        ([(math.nan, 5), (1, 8)], 2.5, 1.0, 8.0),
        ([(1, 5), (2, 8)], math.inf, 1.0, 8.0),
    ],
)
def test_trajectory_alignment_by_hand(anchors, q, gamma, residual):
    assert rebuilt("trajectory", anchors, q) == pytest.approx((gamma, residual))


def test_gamma_max_of_one_is_plain_reuse():
    assert rebuilt("trajectory", [(1, 5), (2, 8)], 2.9, gamma_max=1.0) == (1.0, 8.0)


def test_reuse_is_the_last_residual():
    assert rebuilt("reuse", [(1, 5), (2, 8)], 2.5) == (1.0, 8.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_history_keeps_the_models_dtype_and_two_residuals(dtype):
    predictor = predictor_class("trajectory")(CacheConfig(threshold=1.0))
    for step in range(20):
        seen = Observation(STEP, h0=hidden(1.0, dtype=dtype)[0], hm=hidden(1.0 + step, dtype=dtype)[0])
        predictor.record(seen, hidden(float(step), dtype=dtype)[0])
    assert {t.dtype for t in predictor.held} == {dtype}
    assert len(predictor.held) == 4  # two residuals, two probe residuals
