"""How far off a run's images are estimated to be, behind guidance; numbers worked out by hand."""

import math

import pytest
import torch

from dicache_core.image_error import GuidedPart, ImageErrorEstimator

SHAPE = (1, 2, 2)


def pattern(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(SHAPE)


PLUS, CROSS = pattern(1.0, 1.0, 1.0, 1.0), pattern(1.0, -1.0, 1.0, -1.0)  # of rms 1, at right angles


def found(*calls):
    """The first row's error after calls ``(guided, parts)``."""
    estimator = ImageErrorEstimator()
    for guided, parts in calls:
        estimator.add(guided[None], parts)
    return estimator.finalize().get(0)


def guided_by(scale, weights, displaced, streams=(PLUS + 2 * CROSS, PLUS)):
    """Displacement after one call under ``weights``, where the guider's own ``scale`` is the first guess."""
    guided = sum(w * stream for w, stream in zip(weights, streams, strict=True))
    guesses = (scale, 1 - scale)
    parts = [GuidedPart(0, g, s, q) for g, s, q in zip(guesses, streams, displaced, strict=True)]
    return found((guided, parts))


def test_a_stream_alone_is_displaced_by_what_its_audits_say():
    parts = [[GuidedPart(0, 1.0, PLUS, 0.3 * PLUS)], [GuidedPart(0, 1.0, PLUS, 0.4 * CROSS)]]
    assert found((PLUS, parts[0]), (PLUS, []), (PLUS, parts[1])) == pytest.approx(0.5)


def test_what_both_streams_are_off_by_alike_no_scale_multiplies():
    assert guided_by(6.0, (6.0, -5.0), (0.1 * PLUS, 0.1 * PLUS)) == pytest.approx(0.1)


def test_what_they_differ_by_the_scale_multiplies():
    assert guided_by(6.0, (6.0, -5.0), (0.1 * PLUS, -0.1 * PLUS)) == pytest.approx(1.1)
    assert guided_by(6.0, (6.0, -5.0), (0.1 * PLUS, 0.1 * CROSS)) == pytest.approx(0.1 * math.hypot(6, 5))


@pytest.mark.parametrize("weights", [(3.0, -2.0), (4.2, -3.5), (1.0, 0.0)], ids=["scale", "rescaled", "off here"])
def test_weights_are_those_by_which_the_guider_did_put_them_together(weights):
    """A schedule of scales, RescaleCFG, an interval: the guider's ``cfg`` is a first guess."""
    expected = 0.1 * math.hypot(*weights)
    assert guided_by(6.0, weights, (0.1 * PLUS, 0.1 * CROSS)) == pytest.approx(expected, rel=1e-3)


def test_streams_that_do_not_differ_leave_the_first_guess():
    alike = (PLUS, PLUS)
    assert guided_by(6.0, (6.0, -5.0), (0.1 * PLUS, -0.1 * PLUS), alike) == pytest.approx(1.1)


def test_three_streams():
    streams, weights = (PLUS, CROSS, pattern(1.0, 1.0, -1.0, -1.0)), (2.0, -0.5, 1.5)
    guided = sum(w * s for w, s in zip(weights, streams, strict=True))
    parts = [GuidedPart(0, 1 / 3, stream, 0.1 * stream) for stream in streams]
    expected = 0.1 * math.sqrt(sum(w * w for w in weights))
    assert found((guided, parts)) == pytest.approx(expected, rel=1e-3)


def test_a_stream_without_skips_before_it_adds_nothing():
    assert guided_by(6.0, (6.0, -5.0), (0.1 * PLUS, None)) == pytest.approx(0.6)


def test_where_nothing_was_audited_nothing_is_known():
    assert found() is None
    assert guided_by(6.0, (6.0, -5.0), (None, None)) is None


def test_of_windows_the_largest_that_it_can_be_counts():
    """Two windows of half an output each: ``s`` times the positive ones' error and ``s - 1`` times the others'."""
    half = torch.ones(1, 1, 2)
    parts = [GuidedPart(0, weight / 2, half, 0.1 * half) for weight in (6.0, -5.0) for _window in range(2)]
    assert found((PLUS, parts)) == pytest.approx(1.1)


def test_rows_of_a_batch_are_told_apart():
    estimator = ImageErrorEstimator()
    batch = torch.stack([PLUS, PLUS])
    estimator.add(batch, [GuidedPart(row, 1.0, PLUS, amount * PLUS) for row, amount in ((0, 0.1), (1, 0.2))])
    assert estimator.finalize() == pytest.approx({0: 0.1, 1: 0.2})


def test_a_lost_run_tells_nothing():
    estimator, parts = ImageErrorEstimator(), [GuidedPart(0, 1.0, PLUS, 0.1 * PLUS)]
    estimator.add(PLUS[None], parts)
    estimator.lose()
    estimator.add(PLUS[None], parts)
    assert estimator.finalize() == {}


def test_without_memory_for_it_the_run_goes_on(monkeypatch):
    estimator = ImageErrorEstimator()

    def fails(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(estimator, "_audit", fails)
    estimator.add(PLUS[None], [GuidedPart(0, 1.0, PLUS, 0.1 * PLUS)])
    assert estimator.finalize() == {}


def test_sums_of_ranks_that_hold_the_same_are_taken_as_one():
    def told(reduce):
        estimator = ImageErrorEstimator()
        estimator.add(PLUS[None], [GuidedPart(0, 6.0, PLUS, 0.1 * PLUS), GuidedPart(0, -5.0, CROSS, 0.1 * CROSS)])
        return estimator.finalize(reduce)[0]

    assert told(lambda sums: 4 * sums) == told(None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_not_close(bad):
    parts = [GuidedPart(0, 6.0, PLUS, bad * PLUS), GuidedPart(0, -5.0, CROSS, 0.1 * CROSS)]
    assert found((PLUS, parts)) == math.inf
