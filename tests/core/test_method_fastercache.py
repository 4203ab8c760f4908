"""FasterCache on numbers worked out by hand."""

import pytest
import torch
from core.methods import TEN, recorded
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.methods.fastercache import low_frequencies, spread
from dicache_core.observation import Observation

SIZE = 10  # frequencies up to 2 are low
PLACES = torch.arange(SIZE) / SIZE


def wave(cycles: int, size: float = 1.0) -> torch.Tensor:
    """(C, H, W) that swings so often over the width."""
    return size * torch.cos(2 * torch.pi * cycles * PLACES).expand(1, SIZE, SIZE)


def at(sigma: float, leader: torch.Tensor | None = None) -> Observation:
    return Observation(TEN.step_at(sigma), is_uncond=leader is not None, cond_output=leader)


def forecast(predictor, now: Observation) -> torch.Tensor:
    out = torch.empty(1, SIZE, SIZE)
    predictor.plan(now, [])
    predictor.forecast(out)
    return out


@pytest.mark.parametrize(("cycles", "low"), [(0, 1), (2, 1), (3, 0), (5, 0)])
def test_what_is_low(cycles, low):
    assert torch.allclose(low_frequencies(wave(cycles)), low * wave(cycles), atol=1e-6)
    along_height = wave(cycles).transpose(1, 2)
    assert torch.allclose(low_frequencies(along_height), low * along_height, atol=1e-6)


@pytest.mark.parametrize(
    ("sigma", "low", "high"),
    [(1.0, 1, 1), (0.5, 1.1, 1), (0.2, 1.1, 1.1), (0.1, 1, 1.1)],  # 1.1 between 0.1 and 0.9, and below 0.3
)
def test_the_unconditional_output_by_hand(sigma, low, high):
    # conditional 5, unconditional 5 + one slow and one fast wave; now the conditional one is 7
    cond, uncond = torch.full((1, SIZE, SIZE), 5.0), 5 + wave(1, 2.0) + wave(4, 3.0)
    predictor = recorded("from_conditional", [(at(1.0, cond), uncond)])
    found = forecast(predictor, at(sigma, torch.full((1, SIZE, SIZE), 7.0)))
    assert torch.allclose(found, 7 + low * wave(1, 2.0) + high * wave(4, 3.0), atol=1e-5)


def test_what_follows_nobody_goes_on_ever_more_boldly():
    # 2, then 3: 3 + p with the progress p of ten steps
    anchors = [(at(1.0), torch.full((1, SIZE, SIZE), 2.0)), (at(0.9), torch.full((1, SIZE, SIZE), 3.0))]
    for sigma, expected in ((0.8, 3.2), (0.3, 3.7)):
        assert torch.allclose(forecast(recorded("from_conditional", anchors), at(sigma)), torch.tensor(expected))
    assert torch.allclose(forecast(recorded("from_conditional", anchors[:1]), at(0.5)), torch.tensor(2.0))


def test_what_is_held():
    cond = torch.zeros(1, SIZE, SIZE)
    predictor = recorded("from_conditional", [(at(1 - i / 10, cond), wave(i)) for i in range(4)])
    assert len(predictor.held) == 4  # two outputs, two bands
    assert torch.equal(predictor.held[-1], wave(3))


def test_spread():
    assert spread(range(10), 2) == [2, 7]
    assert spread(range(10), 5) == [1, 3, 5, 7, 9]
    assert spread(range(3), 7.0) == [0, 1, 2]
    assert spread(range(3), 0.2) == []


def computed(steps: int, paired: bool = True, **settings) -> list[list[int]]:
    """Steps that a conditional and an unconditional stream compute in a run."""
    config = CacheConfig(**(dict(indicator="fastercache", predictor="from_conditional", warmup_steps=2) | settings))
    run, found = CacheSession(config, schedule(steps)), [[], []]
    for index, sigma in enumerate(run.schedule.sigmas[:-1]):
        keys = [SampleKey("cond", 0), SampleKey("uncond", 0)]
        cache = run.forward(keys, run.schedule.step_at(sigma), torch.zeros(2, 1, 5, 5), {1: 0} if paired else None)
        cache.enter(torch.zeros(2, 4, 2))
        for stream, reused in enumerate(cache.decide()):
            found[stream] += [index] * (not reused)
        cache.observe(torch.zeros(2, 1, 5, 5))
    return found


def test_the_plan_by_hand():
    # steps 2 to 11 of 13 are free: every 2nd of them conditional, every 5th unconditional too
    assert computed(13, interval=2) == [[0, 1, 3, 5, 7, 9, 11, 12], [0, 1, 5, 9, 12]]
    assert computed(13, interval=5) == [[0, 1, 4, 9, 12], [0, 1, 9, 12]]
    assert computed(13, interval=2, paired=False)[0] == computed(13, interval=2, paired=False)[1]
    assert computed(13, interval=1)[0] == list(range(13))


@pytest.mark.parametrize("target", ["20", "15", "12", "10"])
def test_a_target_is_met_on_the_average_of_both(target):
    cond, uncond = computed(30, target=target)
    assert set(uncond) < set(cond)
    assert abs((len(cond) + len(uncond)) / 2 - int(target)) <= 0.5
    alone, _ = computed(30, paired=False, target=target)
    assert len(alone) == int(target)


def test_an_unconditional_row_is_made_from_the_conditional_one_of_its_pass():
    """And never from another picture's; the unconditional rows come first in the batch."""
    config = CacheConfig(indicator="fastercache", predictor="from_conditional", interval=2, warmup_steps=1)
    run, rows = CacheSession(config, schedule(10)), [SampleKey(s, i) for s in ("uncond", "cond") for i in (0, 1)]
    more_than_cond, followed = torch.tensor([2.0, 20.0]), 0
    for index, sigma in enumerate(run.schedule.sigmas[:-1]):
        cond = torch.tensor([1.0, 10.0]) * (1 + index)
        outputs = torch.cat([cond + more_than_cond, cond])[:, None, None, None].expand(4, 1, 5, 5).clone()
        cache = run.forward(rows, run.schedule.step_at(sigma), torch.zeros(4, 1, 5, 5), {0: 2, 1: 3})
        cache.enter(torch.zeros(4, 4, 2))
        reused = cache.decide()
        found = cache.observe(outputs)[:, 0, 0, 0]
        if reused == (True, True, False, False):
            followed += 1
            more = 1.1 if 0.1 < sigma < 0.9 else 1.0  # what is the same everywhere is low
            assert torch.allclose(found, torch.cat([cond + more * more_than_cond, cond]))
    assert followed == 2


def test_a_computed_row_learns_nothing_from_a_forecast():
    config = CacheConfig(indicator="fastercache", predictor="from_conditional", interval=2, warmup_steps=1)
    run = CacheSession(config, schedule(10))
    cond, uncond = SampleKey("cond", 0), SampleKey("uncond", 0)
    for index in range(3):  # the conditional stream is seen alone at first
        cache = run.forward([cond], run.schedule.step_at(run.schedule.sigmas[index]), torch.zeros(1, 1, 5, 5))
        cache.enter(torch.zeros(1, 4, 2))
        cache.decide()
        cache.observe(torch.ones(1, 1, 5, 5))
    for index in range(3, 9):
        cache = run.forward(
            [cond, uncond], run.schedule.step_at(run.schedule.sigmas[index]), torch.zeros(2, 1, 5, 5), {1: 0}
        )
        cache.enter(torch.zeros(2, 4, 2))
        if cache.decide() == (True, False):
            cache.observe(torch.ones(2, 1, 5, 5))
            assert cache.samples[1].predictor.difference is None
            return
        cache.observe(torch.ones(2, 1, 5, 5))
    pytest.fail("no pass computed the unconditional row alone")
