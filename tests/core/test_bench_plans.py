"""Choices of computed calls that bench/oracle.py tries."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
import plans


def drawn(plan) -> str:
    return "".join("#" if on else "." for on in plan)


def test_every_choice_computes_the_first_call_and_the_last():
    assert [drawn(plan) for plan in plans.every_choice(5, 3)] == ["##..#", "#.#.#", "#..##"]


@pytest.mark.parametrize(
    ("together", "expected"), [(1, "##..#.#.#.##"), (2, "##..##..#.##")], ids=["singly", "in pairs"]
)
def test_skipped_calls_are_spread_evenly(together, expected):
    assert drawn(plans.spread(8, 3, start=2, end=2, together=together)) == expected


@pytest.mark.parametrize(("total", "computed"), [(24, 12), (24, 8), (30, 16), (20, 10), (9, 6)])
def test_even_plans_differ_and_compute_as_many_as_was_asked_for(total, computed):
    found = plans.even_plans(total, computed)
    assert len(found) == len(set(found)) >= 5
    assert {(len(plan), sum(plan), plan[0], plan[-1]) for plan in found} == {(total, computed, True, True)}
