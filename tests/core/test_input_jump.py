"""Whether what a stream sees goes on from call to call; rows of numbers, with answers worked out by hand."""

import math

import pytest
import torch
from core.toys import schedule, session

import dicache_core.engine.forward_pass as passes
from dicache_core import CacheSession, SampleKey, resolve
from dicache_core.engine.input_jump import InputDistanceBound

SIZE = 64


def noise(seed: int) -> torch.Tensor:
    return torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def test_a_part_may_go_farther_than_the_whole_and_a_quarter_of_its_size():
    bound = InputDistanceBound()
    assert bound.next(torch.full((2, 1, 8, 8), 4.0)) == math.inf
    moved = torch.full((2, 1, 8, 8), 4.0)
    moved[1] += 4.0  # the row that goes farthest counts
    assert bound.next(moved) == pytest.approx(2.5 * 4.0 + 8.0 / 4)
    assert bound.next(moved) == pytest.approx(8.0 / 4)
    assert bound.next(moved[:1]) == math.inf, "another shape is another beginning"


def test_what_the_sampler_writes_over_later_was_copied():
    bound, x = InputDistanceBound(), torch.ones(1, 1, 8, 8)
    bound.next(x)
    x += 1.0
    assert bound.next(x) == pytest.approx(2.5 * 1.0 + 2.0 / 4)


def run(seen, preset="fast", steps=20):
    """Reasons of the calls of one stream that sees ``seen(call, x)`` of a sampler's falling ``x``."""
    session, bound, reasons = CacheSession(resolve("flux", preset), schedule(steps)), InputDistanceBound(), []
    for call in range(steps):
        sigma = session.schedule.sigmas[call]
        x = sigma * noise(0)
        cache = session.forward(
            [SampleKey("cond", 0)], session.schedule.step_at(sigma), seen(call, x), max_distance=bound.next(x)
        )
        out = cache.forecast() if all(cache.decide()) else cache.observe(noise(0), x)
        assert out.isfinite().all()
        reasons += [decision.reason for decision in cache.decisions]
    return reasons


@pytest.mark.parametrize(
    "seen",
    [lambda _call, x: x, lambda _call, x: x[..., :8, 8:16], lambda _call, x: x.half().float()],
    ids=["whole", "a part", "rounded"],
)
def test_what_stays_where_it_is_is_skipped_as_ever(seen):
    reasons = run(seen)
    assert "another image" not in reasons
    assert reasons.count("reused") >= 8


@pytest.mark.parametrize("part", [slice(None), slice(0, 16)], ids=["whole", "a part"])
def test_what_moves_at_every_step_is_never_skipped(part):
    reasons = run(lambda call, x: torch.roll(x, call, -1)[..., part])
    assert "reused" not in reasons
    assert reasons.count("another image") >= 15


def test_what_moves_once_is_computed_from_there_on():
    still, moved = run(lambda _call, x: x), run(lambda call, x: torch.roll(x, 5 * (call >= 8), -1))
    assert moved[:8] == still[:8]
    late = [call for call in range(8, 20) if moved[call] == "reused"]
    assert len(late) <= 1, "who is skipped without a number being read is found out at the next call that reads one"
    assert moved[-3:-1] == ["another image"] * 2


def test_a_stack_of_another_size_is_still_asked_whether_its_input_goes_on():
    run, bound, reasons = session(threshold=9.0), InputDistanceBound(), []
    for call in range(9):
        x = run.schedule.sigmas[call] * noise(0)
        seen = torch.roll(x, 5 * (call >= 5), -1)  # it moves right behind the call at which the stack grows
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[call]), seen,
                            max_distance=bound.next(x))  # fmt: skip
        state = torch.ones(1, 2 if call < 4 else 3, 2)
        cache.enter(state)
        cache.probe(state)
        cache.complete(state)
        reasons += [decision.reason for decision in cache.decisions]
    assert reasons == ["warm-up"] * 2 + ["reused"] * 2 + ["no anchor yet"] + ["another image"] * 4


def test_it_adds_no_transfer(monkeypatch):
    """Doubts travel with what is brought to the host anyway, and wait where nothing is."""
    asked, real = [], passes.to_host
    monkeypatch.setattr(passes, "to_host", lambda sums, reduce: asked.append(len(sums)) or real(sums, reduce))
    run(lambda _call, x: x)
    with_doubts, asked[:] = list(asked), []
    monkeypatch.setattr(InputDistanceBound, "next", lambda *_: None)
    run(lambda _call, x: x)
    assert [count > 0 for count in with_doubts] == [count > 0 for count in asked]
    assert sum(with_doubts) > sum(asked)
