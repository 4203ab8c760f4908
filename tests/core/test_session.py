"""The contract between cache and model on a toy model of two tokens."""

import gc
import math
import weakref

import pytest
import torch
from core.toys import hidden, run_pass, session
from torch.utils._python_dispatch import TorchDispatchMode

from dicache_core import SampleKey, run_json
from dicache_core.engine.decision import UNDECIDED
from dicache_core.timing import Stopwatch


def decisions(session, *probes, stream="cond", **options):
    """Decisions of a run whose probe after step ``i`` is ``probes[i]``."""
    zeros = hidden(0.0)
    return [run_pass(session, i, zeros, hidden(p), hidden(10.0), stream, **options)[0][0] for i, p in enumerate(probes)]


def test_a_run_by_hand():
    # moves: 0.1, 0.1, 0.3, 0.4, ... of probes 10, 11, 12.1 | E: warm-up, warm-up, 0.1, 0.4 -> reuse; 0.4+0.2 -> compute
    probes = [10, 10, 11, 14.3, 17.16, 17.16, 17.16, 17.16, 17.16, 17.16]
    run = session(threshold=0.5)
    assert decisions(run, *probes) == [False, False, True, True, False, True, True, True, True, False]
    assert run.statistics.passes == []  # the toy does not report; the wrapper does


def test_the_first_anchor_alone_is_reused_plainly():
    run = session(warmup_steps=1)
    run_pass(run, 0, hidden(1.0), hidden(2.0), hidden(5.0))
    reuse, hM = run_pass(run, 1, hidden(3.0), hidden(2.0), hidden(99.0))
    assert reuse == (True,)
    assert torch.equal(hM, hidden(3.0 + 6.0))  # R = 2 + 5 - 1


def test_rebuilt_along_the_trajectory():
    run = session(warmup_steps=2, threshold=10.0)
    run_pass(run, 0, hidden(1.0), hidden(2.0), hidden(4.0))  # q 1, R 5
    run_pass(run, 1, hidden(1.0), hidden(3.0), hidden(6.0))  # q 2, R 8
    _, hM = run_pass(run, 2, hidden(1.0), hidden(3.5), hidden(99.0))  # q 2.5: gamma 1.5, R 9.5
    assert torch.allclose(hM, hidden(10.5))


@pytest.mark.parametrize("in_place", [False, True])
def test_blocks_that_change_their_input_in_place(in_place):
    """Fails if h0 or hm is kept by reference: the host's blocks write their result over both."""
    run, outputs = session(warmup_steps=2, threshold=10.0), []
    for step, probe in enumerate([2.0, 3.0, 3.5]):
        outputs.append(run_pass(run, step, hidden(1.0), hidden(probe), hidden(2 * probe), in_place=in_place))
    assert outputs[2][0] == (True,)
    assert torch.allclose(outputs[2][1], hidden(1 + 5 + 1.5 * 3))


def test_keeping_references_would_fail_the_trap():
    """The trap itself works: a cache that keeps references sees no movement and rebuilds nothing sensible."""
    run = session(warmup_steps=2, threshold=10.0)
    from dicache_core import ForwardPass

    class Careless(ForwardPass):
        def enter(self, h0, modulated=None):
            super().enter(h0)
            self._inputs = list(h0)

    state_after = []
    for step, probe in enumerate([2.0, 3.0, 3.5]):
        keys = [SampleKey("cond", 0)]
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]))
        cache.__class__ = Careless
        state = hidden(1.0)
        cache.enter(state)
        state.copy_(hidden(probe))
        if all(cache.probe(state)):
            cache.rebuild(state)
        else:
            state += hidden(2 * probe)
            cache.complete(state)
        state_after.append(state.clone())
    assert not torch.allclose(state_after[2], hidden(1 + 5 + 1.5 * 3))


def test_samples_of_a_batch_decide_as_they_do_alone():
    calm, wild = [10, 10, 10, 10, 10, 10], [10, 30, 90, 10, 40, 90]
    together = session()
    both = [
        run_pass(together, i, hidden(0.0, 0.0), hidden(a, b), hidden(5.0, 7.0))[0]
        for i, (a, b) in enumerate(zip(calm, wild, strict=True))
    ]
    assert [r[0] for r in both] == decisions(session(), *calm)
    assert [r[1] for r in both] == decisions(session(), *wild)
    assert any(a != b for a, b in both)


def test_a_mixed_batch_rebuilds_only_the_reused_rows():
    run = session(warmup_steps=1)
    run_pass(run, 0, hidden(1.0, 1.0), hidden(2.0, 2.0), hidden(5.0, 5.0))
    reuse, hM = run_pass(run, 1, hidden(1.0, 1.0), hidden(2.0, 9.0), hidden(50.0, 50.0))
    assert reuse == (True, False)
    assert torch.equal(hM, torch.cat([hidden(1.0 + 6.0), hidden(9.0 + 50.0)]))


def test_streams_do_not_see_each_other():
    run = session()
    for step in range(4):
        cond = run_pass(run, step, hidden(0.0), hidden(10.0), hidden(1.0), "cond")
        uncond = run_pass(run, step, hidden(0.0), hidden(10.0 * 3**step), hidden(2.0), "uncond")
        assert cond[0] == (step >= 2,)
        assert uncond[0] == (False,)
        assert torch.equal(cond[1], hidden(11.0))


def test_a_stream_met_for_the_first_time_computes():
    run = session()
    decisions(run, 10, 10, 10)
    assert run_pass(run, 3, hidden(0.0), hidden(10.0), hidden(1.0), "new")[0] == (False,)


def test_a_stream_that_left_out_a_step_starts_again():
    run = session()
    decisions(run, 10, 10, 10)
    assert run_pass(run, 5, hidden(0.0), hidden(10.0), hidden(1.0))[0] == (False,)


def test_rising_sigma_starts_again():
    run = session()
    assert decisions(run, 10, 10, 10, 10)[-1]
    assert run_pass(run, 2, hidden(0.0), hidden(10.0), hidden(1.0))[0] == (False,)


def test_another_shape_starts_again():
    run = session()
    decisions(run, 10, 10, 10)
    assert run_pass(run, 3, hidden(0.0)[:, :1], hidden(10.0)[:, :1], hidden(1.0)[:, :1])[0] == (False,)
    assert run_pass(run, 4, hidden(0.0)[:, :1], hidden(10.0)[:, :1], hidden(1.0)[:, :1])[0] == (True,)


def test_longest_run_of_reused_steps():
    assert decisions(session(max_consecutive=2), *[10] * 9) == [
        False,
        False,
        True,
        True,
        False,
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_probes_compute_and_recover(bad):
    run = session()
    # the bad probe computes, the step after it has nothing sound to compare with, then all is well again
    assert decisions(run, 10, 10, 10, bad, 10, 10, 10) == [False, False, True, False, False, True, True]


def test_no_nan_is_ever_made():
    run = session(threshold=10.0, warmup_steps=2)
    for step, probe in enumerate([0.0, 0.0, 0.0, 1.0, 1.0]):
        _, hM = run_pass(run, step, hidden(0.0), hidden(probe), hidden(1.0))
        assert torch.isfinite(hM).all()


class Syncs(TorchDispatchMode):
    """Counts reads of a tensor's value by the host, and transfers of stacked sums."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_one_sync_where_a_decision_is_open_and_none_elsewhere(monkeypatch):
    fetched = []
    import dicache_core.engine.forward_pass as module

    original = module.to_host
    monkeypatch.setattr(module, "to_host", lambda sums, reduce: fetched.append(len(sums) > 0) or original(sums, reduce))
    with Syncs() as syncs:
        decisions(session(), *[10] * 10)
    assert fetched == [False, False] + [True] * 7 + [False]  # warm-up, open, last step
    assert syncs.count == 0  # no .item(), no bool() of a tensor: everything else stays on the device


def test_memory_is_two_residuals_per_sample_and_does_not_grow():
    run, sizes = session(steps=40, threshold=0.0001), []
    for step in range(39):
        state = torch.randn(3, 2000, 8)
        run_pass(run, step, state, state * (1 + step), torch.randn(3, 2000, 8))
        sizes.append(run.histories.held_bytes())
    residual = 3 * 2000 * 8 * 4
    assert sizes[5:] == sizes[5:6] * len(sizes[5:])
    assert sizes[-1] == pytest.approx(2 * residual, rel=0.1)


def test_moving_streams_do_not_pile_up():
    run = session(steps=40)
    for step in range(39):
        run_pass(run, step, hidden(0.0), hidden(1.0), hidden(1.0), stream=f"window {step}")
    assert len(list(run.histories)) <= 2


def test_nothing_of_a_session_outlives_it():
    run = session()
    decisions(run, *[10] * 6)
    kept = [weakref.ref(t) for sample in run.histories for t in sample.held]
    assert kept
    assert all(r() is not None for r in kept)
    del run
    gc.collect()
    assert all(r() is None for r in kept)


def test_a_session_that_never_reuses_needs_no_stack():
    assert session(threshold=0.0).needs_no_stack
    assert not session(threshold=0.1).needs_no_stack


def undecided(run, step=0, samples=1):
    """A pass whose forward never came to the blocks."""
    cache = run.forward([SampleKey("cond", row) for row in range(samples)], run.schedule.step_at(1.0 - step / 10))
    stopwatch = Stopwatch(torch.device("cpu"))
    return cache, stopwatch


@pytest.mark.parametrize("predictor", ["trajectory", "output_line"])
def test_a_pass_that_visits_no_block_counts_as_computed(predictor):
    run = session(predictor=predictor)
    cache, stopwatch = undecided(run, samples=2)
    out = hidden(1.0, 2.0)
    assert cache.observe(out) is out
    run.close(cache, stopwatch)
    statistics = run.statistics
    assert statistics.cells[0] == "c"
    assert (statistics.computed, statistics.reused) == (1, 0)
    assert [[d.reason for _, d in sample] for sample in statistics.by_sample().values()] == [["no block seen"]] * 2
    assert len(run_json(statistics, details=True)["samples"]) == 2
    assert [UNDECIDED in p.decisions for p in statistics.passes] == [True]


def test_a_visited_pass_is_decided():
    run = session()
    cache, stopwatch = undecided(run)
    cache.enter(hidden(0.0))
    cache.probe(hidden(1.0))
    run.close(cache, stopwatch)
    assert [UNDECIDED in p.decisions for p in run.statistics.passes] == [False]


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_what_follows_an_undecided_pass_computes_until_there_are_anchors_again(seen):
    """Steps of which the cache saw nothing are gaps: histories from before them are not continued."""
    run, zeros = session(threshold=1e9, warmup_steps=1), hidden(0.0)
    for step in range(seen):
        run_pass(run, step, zeros, hidden(1.0), hidden(2.0))
    run.close(*undecided(run, seen))
    reuse = [run_pass(run, step, zeros, hidden(1.0), hidden(2.0))[0][0] for step in (seen + 1, seen + 2)]
    assert reuse == [False, True]
