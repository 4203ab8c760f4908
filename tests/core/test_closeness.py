"""How close a run says that its picture is, and what the model vetoed; worked out by hand."""

import math

import numpy as np
import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, Nothing, SampleKey, Stopwatch, closeness_of, resolve, why_nothing
from dicache_core.schedule import EDGE

SKIPPED = "1101111111"  # the third of ten steps


def run(config: CacheConfig, steps: int, truth, streams=("cond",), pictures=True, settled=True):
    """Statistics of a run of two samples that put out ``truth(stream, row, index)``; their pictures are all 2."""
    session = CacheSession(config, schedule(steps))
    for sigma in session.schedule.sigmas[:-1]:
        step = session.schedule.step_at(sigma)
        for stream in streams:
            cache = session.forward([SampleKey(stream, row) for row in (0, 1)], step, torch.zeros(2, 1, 2, 2))
            if all(cache.decide()):
                cache.forecast()
            else:
                values = torch.tensor([float(truth(stream, row, step.index)) for row in (0, 1)])
                shown = torch.full((2, 1, 2, 2), 2.0) if pictures else None
                cache.observe(values.view(2, 1, 1, 1).repeat(1, 1, 2, 2), shown)
            session.close(cache, Stopwatch(torch.device("cpu")))
    if settled:
        session.settle()
    return session.statistics


def masked(truth, mask=SKIPPED, **options):
    config = CacheConfig(threshold=1.0, indicator="mask", mask=mask, predictor="corrected_line", warmup_steps=0)
    return run(config, 10, truth, **options)


def off_by(*amounts: float):
    """Outputs of 1 until the skip; each row's computed step behind it is off by so much from what was forecast."""
    return lambda _stream, row, index: 1 + amounts[row] * (index == 3)


def put_right(amount: float) -> float:
    """``off_by`` as the audit sees it: what the computed call took of the ``x`` that the skipped one left off is gone.

    The call that was skipped lies on a parabola through two outputs of 1 and one of ``1 + amount``.
    """
    ten = schedule()
    places = [ten.log_snr(ten.sigmas[call]) for call in (0, 1, 3)]
    skipped = np.polynomial.Polynomial.fit(places, [0.0, 0.0, amount], 2)(ten.log_snr(ten.sigmas[2]))
    sigma = ten.sigmas[3]
    followed, signal = (1 + sigma) / 2, 1 - sigma + EDGE
    return amount + (1 - followed / signal) / sigma * (-0.1 * skipped)


def test_the_risk_is_what_the_audit_behind_a_skip_says():
    # a tenth of the noise was skipped, and forecasts were off by 2 there: 0.1 * 2 / 2; the other row's were right
    found = masked(off_by(2.0, 0.0))
    assert put_right(2.0) == pytest.approx(2.27, abs=0.01)
    assert found.risks == pytest.approx({0: 0.1 * put_right(2.0) / 2, 1: 0.0})
    assert found.risk == found.risks[0]
    assert found.closeness == "close"
    assert found.summary()["closeness"] == "close"


def test_of_several_streams_the_worst_one_counts():
    found = masked(
        lambda stream, _row, index: 1 + (4 if stream == "cond" else 2) * (index == 3), streams=("uncond", "cond")
    )
    assert found.risks == pytest.approx({0: 0.1 * put_right(4.0) / 2, 1: 0.1 * put_right(4.0) / 2})
    assert found.closeness == "visible"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"pictures": False}, "no picture"),
        ({"settled": False}, "not at its end"),
        ({"mask": "1" * 10}, "all computed"),
    ],
)
def test_where_nobody_knows_nothing_is_said(options, why):
    assert masked(off_by(2.0, 0.0), **options).closeness is None, why


@pytest.mark.parametrize(
    ("risk", "word"),
    [(None, None), (0.0, "very close"), (0.04, "very close"), (0.041, "close"), (0.12, "close"), (0.121, "visible"),
     (math.inf, "visible"), (math.nan, "visible")],
)  # fmt: skip
def test_words(risk, word):
    assert closeness_of(risk) == word


def test_a_run_that_the_model_vetoed_says_so():
    # not a tenth of an output of 20 may be missing from a picture of 2
    found = run(resolve("flux", "balanced"), 12, lambda _stream, _row, index: 20 * (-1) ** index)
    assert found.reused == 0
    assert found.vetoed == found.summary()["vetoed"] == 4, "the other eight were never to be skipped"
    assert why_nothing(found) == Nothing("forecasts off")


def test_a_step_counts_once_however_many_samples_and_streams_vetoed_it():
    found = run(resolve("flux", "balanced"), 12, lambda _s, _r, index: 20 * (-1) ** index, streams=("uncond", "cond"))
    assert found.vetoed == 4


def test_a_calm_run_vetoes_nothing():
    found = run(resolve("flux", "balanced"), 12, lambda *_: 0.1)
    assert found.vetoed == 0
    assert found.reused == 4
    assert found.closeness == "very close"
