"""How far off a run's images are estimated to be, behind guidance; numbers worked out by hand."""

import math

import pytest
import torch
from core.toys import schedule

from dicache_core.image_error import GuidedPart, ImageError, ImageErrorEstimator

TEN = schedule()
SHAPE = (1, 2, 2)


def pattern(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(SHAPE)


PLUS, CROSS = pattern(1.0, 1.0, 1.0, 1.0), pattern(1.0, -1.0, 1.0, -1.0)  # of rms 1, at right angles
NONE = torch.zeros(SHAPE)


def found(*calls, at=None):
    """The first row's error after calls ``(guided, parts)``, at the sigmas of ten steps from the first on."""
    estimator = ImageErrorEstimator(TEN)
    for index, (guided, parts) in enumerate(calls):
        estimator.add(TEN.sigmas[index if at is None else at[index]], guided[None], parts)
    return estimator.finalize().get(0)


def guided_by(scale, weights, displaced, streams=(PLUS + 2 * CROSS, PLUS)):
    """Displacement after one call under ``weights``, where the guider's own ``scale`` is the first guess."""
    guided = sum(w * stream for w, stream in zip(weights, streams, strict=True))
    guesses = (scale, 1 - scale)
    parts = [GuidedPart(0, g, s, q) for g, s, q in zip(guesses, streams, displaced, strict=True)]
    return found((NONE, []), (guided, parts), at=(4, 5)).displaced


def test_a_stream_alone_is_displaced_by_what_its_audits_say():
    parts = [[GuidedPart(0, 1.0, PLUS, 0.3 * PLUS)], [GuidedPart(0, 1.0, PLUS, 0.4 * CROSS)]]
    assert found((NONE, []), *((PLUS, part) for part in parts), at=(4, 5, 6)).displaced == pytest.approx(0.5)


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
    assert found((NONE, []), (guided, parts), at=(4, 5)).displaced == pytest.approx(expected, rel=1e-3)


def test_a_stream_without_skips_before_it_adds_nothing():
    assert guided_by(6.0, (6.0, -5.0), (0.1 * PLUS, None)) == pytest.approx(0.6)
    assert guided_by(6.0, (6.0, -5.0), (None, None)) == 0


def test_of_windows_the_largest_that_it_can_be_counts():
    """Two windows of half an output each: ``s`` times the positive ones' error and ``s - 1`` times the others'."""
    half = torch.ones(1, 1, 2)
    parts = [GuidedPart(0, weight / 2, half, 0.1 * half) for weight in (6.0, -5.0) for _window in range(2)]
    assert found((NONE, []), (PLUS, parts), at=(4, 5)).displaced == pytest.approx(1.1)


def test_rows_of_a_batch_are_told_apart():
    estimator = ImageErrorEstimator(TEN)
    batch = torch.stack([PLUS, PLUS])
    estimator.add(0.6, 0 * batch, [])
    estimator.add(0.5, batch, [GuidedPart(row, 1.0, PLUS, amount * PLUS) for row, amount in ((0, 0.1), (1, 0.2))])
    assert {row: error.displaced for row, error in estimator.finalize().items()} == pytest.approx({0: 0.1, 1: 0.2})


def test_the_way_of_the_denoised_latent_counts_in_the_second_half():
    way = (9.0, 7.0, 0.0, 0.0, 1.0, 2.0, 4.0, 3.0, 3.0, 3.0)  # from the fifth of ten calls on 1 + 2 + 1
    assert found(*((value * PLUS, []) for value in way)).moved == pytest.approx(4.0)


def test_a_run_that_was_cut_short_tells_nothing():
    assert found() is None
    assert found((PLUS, []), (PLUS, [])) is None, "its second half never came"


def test_a_lost_run_tells_nothing_and_holds_nothing():
    estimator = ImageErrorEstimator(TEN)
    for index in (4, 5):
        estimator.add(TEN.sigmas[index], PLUS[None], [])
    assert len(estimator.held) == 1
    estimator.lose()
    estimator.add(TEN.sigmas[6], PLUS[None], [])
    assert not estimator.held
    assert estimator.finalize() == {}


def test_without_memory_for_it_the_run_goes_on(monkeypatch):
    estimator = ImageErrorEstimator(TEN)

    def fails(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(estimator, "_move", fails)
    estimator.add(TEN.sigmas[4], PLUS[None], [])
    assert estimator.finalize() == {}


def test_sums_of_ranks_that_hold_the_same_are_taken_as_one():
    def told(reduce):
        estimator = ImageErrorEstimator(TEN)
        estimator.add(0.6, 0 * PLUS[None], [])
        estimator.add(0.5, PLUS[None], [GuidedPart(0, 6.0, PLUS, 0.1 * PLUS), GuidedPart(0, -5.0, CROSS, 0.1 * CROSS)])
        return estimator.finalize(reduce)[0]

    assert told(lambda sums: 4 * sums) == told(None)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_not_close(bad):
    parts = [GuidedPart(0, 6.0, PLUS, bad * PLUS), GuidedPart(0, -5.0, CROSS, 0.1 * CROSS)]
    assert found((NONE, []), (PLUS, parts), at=(4, 5)).estimate == math.inf
    assert found((NONE, []), (bad * PLUS, []), at=(4, 5)).estimate == math.inf


@pytest.mark.parametrize(("error", "estimate"), [(ImageError(0.05, 0.25), 0.05), (ImageError(0.01, 4.0), 0.066)])
def test_an_image_is_close_where_both_are_small(error, estimate):
    assert error.estimate == pytest.approx(estimate)
