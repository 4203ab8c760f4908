"""Steps are found from sigma."""

import pytest

from dicache_core.schedule import Schedule

SCHEDULE = Schedule((1.0, 0.9, 0.6, 0.2, 0.0))


@pytest.mark.parametrize(
    ("sigma", "index", "final"),
    [
        (1.0, 0, False),
        (1.07, 0, False),  # churn adds noise above the first point
        (0.95, 0, False),  # a midpoint belongs to the step it is in
        (0.9, 1, False),
        (0.9 * (1 + 1e-6), 1, False),  # float32 arithmetic in the sampler
        (0.9 * (1 - 1e-6), 1, False),
        (0.6, 2, False),
        (0.2, 3, True),
        (0.1, 3, True),
        (0.0, 3, True),
    ],
)
def test_step_of_a_sigma(sigma, index, final):
    step = SCHEDULE.step_at(sigma)
    assert (step.step_index, step.is_last) == (index, final)


def test_place_counts_the_steps_of_other_runs():
    second_expert = Schedule((0.5, 0.3, 0.1, 0.0), steps_before=7)
    step = second_expert.step_at(0.5)
    assert (step.step_index, step.global_step, step.total) == (0, 7, 10)
    assert step.progress == pytest.approx(0.7)


def test_a_schedule_without_a_step_is_refused():
    with pytest.raises(ValueError, match="at least two sigmas"):
        Schedule((1.0,))
