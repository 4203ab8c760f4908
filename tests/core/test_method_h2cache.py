"""H2-Cache by hand: two stages of three blocks, each behind its first; every block adds a number."""

import pytest
import torch
from core.toys import hidden, run_parts, schedule

from dicache_core import CacheConfig, CacheSession, resolve
from dicache_core.methods.h2cache import H2Cache
from dicache_core.policies import POLICIES, chosen_policy
from dicache_core.reasons import Reason
from dicache_core.reductions import mean_pool
from dicache_core.segments import Segment, StackShape

SHAPE = StackShape((3, 3))


def session(steps=10, **settings):
    config = resolve("flux", policy=chosen_policy("h2cache", **settings))
    return CacheSession(config, schedule(steps), shape=SHAPE)


def step(run, number, *adds, entering=100.0, **more):
    """(blocks that ran, what comes out) of a step whose blocks add these numbers."""
    _, h, ran = run_parts(run, number, hidden(entering), [lambda h, a=a: h + a for a in adds], **more)
    return ran, h[0, 0, 0].item()


FIRST = (10, 1, 2, 20, 4, 8)
ALL, SECOND_HIT, BOTH_HIT = [0, 1, 2, 3, 4, 5], [0, 1, 2, 3], [0, 3]


@pytest.mark.parametrize(
    ("adds", "ran", "out"),
    [
        # q of the first stage moves from 10 by 0.149, 0.151; that of the second from 20 by 0.219, 0.221
        ((11.49, 99, 99, 20, 99, 99), BOTH_HIT, 100 + 11.49 + 3 + 20 + 12),
        ((11.51, 30, 40, 24.38, 99, 99), SECOND_HIT, 100 + 11.51 + 70 + 24.38 + 12),
        ((11.51, 30, 40, 24.42, 50, 60), ALL, 100 + 11.51 + 70 + 24.42 + 110),
        ((8.51, 99, 99, 20, 99, 99), BOTH_HIT, 100 + 8.51 + 3 + 20 + 12),
        ((8.49, 30, 40, 15.62, 99, 99), SECOND_HIT, 100 + 8.49 + 70 + 15.62 + 12),
        # the second one is never asked where the first is reused
        ((10, 99, 99, 2000, 99, 99), BOTH_HIT, 100 + 10 + 3 + 2000 + 12),
    ],
)
def test_three_outcomes_just_above_and_below_each_threshold(adds, ran, out):
    run = session()
    assert step(run, 0, *FIRST) == (ALL, 145)
    found = step(run, 1, *adds)
    assert found == (ran, pytest.approx(out, rel=1e-5))


def test_a_stage_is_compared_with_the_step_at_which_it_was_computed_last():
    run = session()
    step(run, 0, *FIRST)
    assert step(run, 1, 14, 1, 2, 24, 4, 8)[0] == SECOND_HIT  # of the first: 0.4; of the second: 0.2
    # The first stage now goes by 14, the second still by 20.
    assert step(run, 2, 12.1, 9, 9, 20, 9, 9)[0] == BOTH_HIT  # |12.1 - 14| / 14 = 0.136
    assert step(run, 3, 10, 1, 2, 24.5, 4, 8)[0] == ALL  # 0.286 and |24.5 - 20| / 20 = 0.225


def test_the_share_that_ran():
    run = session()
    for number, adds in enumerate([FIRST, (10, 1, 2, 20, 4, 8), (14, 1, 2, 20, 4, 8), (40, 1, 2, 90, 4, 8)]):
        step(run, number, *adds)
    assert run.statistics.cells[:4] == "cppc"
    assert run.statistics.shares == pytest.approx([1, 2 / 6, 4 / 6, 1])


def test_a_threshold_that_is_typed_scales_both():
    run = session(threshold=0.3)
    step(run, 0, *FIRST)
    assert step(run, 1, 13.1, 1, 2, 28.7, 4, 8)[0] == SECOND_HIT  # 0.31 is above 0.3, 0.435 below 0.44
    run = session(threshold=0.3)
    step(run, 0, *FIRST)
    assert step(run, 1, 13.1, 1, 2, 28.9, 4, 8)[0] == ALL


def test_the_last_step_may_be_reused_as_published_and_warm_up_copies_nothing():
    run = session()
    for number in range(10):
        ran, _ = step(run, number, *FIRST)
    assert ran == BOTH_HIT
    run = session(warmup_steps=4)
    for number in range(3):
        step(run, number, *FIRST)
        assert run.histories.held_bytes() == 0
    step(run, 3, *FIRST)
    assert run.histories.held_bytes() > 0
    assert step(run, 4, *FIRST)[0] == BOTH_HIT


def test_samples_of_a_batch_decide_each_for_itself():
    run = session()
    blocks = [lambda h, a=a: h + torch.tensor(a).view(-1, 1, 1) for a in ([10.0, 10.0], [1.0, 1.0], [2.0, 2.0])]
    second = [lambda h, a=a: h + a for a in (20.0, 4.0, 8.0)]
    run_parts(run, 0, hidden(100.0, 200.0), blocks + second)
    blocks[0] = lambda h: h + torch.tensor([10.0, 14.0]).view(-1, 1, 1)
    cache, h, ran = run_parts(run, 1, hidden(100.0, 200.0), blocks + second)
    assert [d.share for d in cache.decisions] == pytest.approx([2 / 6, 4 / 6])  # the other one's second stage stands
    assert ran == SECOND_HIT
    assert h[:, 0, 0].tolist() == [145, 249]


def test_streams_of_one_image_decide_together():
    run, x = session(), torch.ones(1, 4, 8, 8)
    found = {"positive": [], "negative": []}
    for number in range(4):
        for stream, q in (("positive", 10), ("negative", 10 * 1.3**number)):  # the negative one moves by 0.3
            now = x * (1 - number / 20)
            ran, _ = step(run, number, q, 1, 2, 20, 4, 8, stream=stream, group="image", latents=now)
            found[stream].append(ran)
    assert found["positive"] == found["negative"]
    assert found["positive"][0] == ALL


def test_a_probe_of_more_blocks():
    config = CacheConfig(probe_depth=2)
    assert H2Cache.segments(config, StackShape((19, 38))) == [
        Segment(0, 18, 0, 2, True),
        Segment(19, 56, 1, 2, True),
    ]
    assert [segment.blocks for segment in H2Cache.segments(config, SHAPE)] == [1, 1]


def test_a_stack_without_a_seam_is_refused():
    with pytest.raises(ValueError, match="decides on double blocks and single ones apart, and this model has one kind"):
        H2Cache.segments(CacheConfig(), StackShape((40,)))


def test_means_over_neighbouring_tokens():
    h = torch.arange(14.0).view(1, 7, 2)  # tokens (0, 1), (2, 3), ... (12, 13)
    assert mean_pool(h, 3).tolist() == [[[1, 2], [5, 6], [9, 10]]]  # two and two; the seventh drops out
    assert torch.equal(mean_pool(h, 9), h)
    assert mean_pool(torch.ones(1, 4608, 1), 384).shape == (1, 384, 1)
    assert mean_pool(torch.ones(1, 4096, 1), 2048).shape == (1, 2048, 1)


def test_the_measure_is_of_means_and_a_speed_is_refused():
    run = CacheSession(resolve("flux", policy=POLICIES["h2cache"]), schedule(10), shape=SHAPE)
    noise = torch.randn(1, 4096, 2, generator=torch.Generator().manual_seed(0))
    still = [lambda h, a=a: h + a for a in FIRST]
    run_parts(run, 0, torch.zeros(1, 4096, 2), still)
    blocks = [lambda h: h + 10 + noise, *still[1:]]
    cache, *_ = run_parts(run, 1, torch.zeros(1, 4096, 2), blocks)
    pooled = noise.unflatten(1, (2048, 2)).mean(2).abs().mean() / 10
    assert cache.passes[0].decisions[0].error == pytest.approx(pooled.item(), rel=1e-4)
    assert cache.decisions[0].reason is Reason.REUSED
    with pytest.raises(ValueError, match="target is '2x', but this policy skips parts of steps"):
        chosen_policy("h2cache", target="2x")
