"""Parts of a stack: how they are written down, decided, kept, rebuilt and told; answers worked out by hand."""

import pytest
import torch
from core.toys import hidden, run_parts, schedule

from dicache_core import CacheConfig, CacheSession, RunStatistics, SampleKey, run_json
from dicache_core.engine.memory import CacheMemory
from dicache_core.reasons import Reason
from dicache_core.segments import Segment, StackShape, parse_blocks
from dicache_core.timing import Stopwatch

# ---------------------------------------------------------------- what people write


def test_a_list_of_blocks_by_part():
    assert parse_blocks("double 6-8, single 0 2 4-5") == {"double": {6, 7, 8}, "single": {0, 2, 4, 5}}
    assert parse_blocks(" blocks 3,1 ") == {"blocks": {1, 3}}
    assert parse_blocks("single 1 double 0 single 2") == {"single": {1, 2}, "double": {0}}


@pytest.mark.parametrize("text", ["", "6-8", "triple 1", "double", "double x", "double 1-", "double 1-2-3", "double1"])
def test_anything_else_is_refused_with_an_example(text):
    if not text:
        assert parse_blocks(text) == {}
        return
    with pytest.raises(ValueError, match="write the blocks that are reused, such as double 6-19"):
        parse_blocks(text)


@pytest.mark.parametrize("text", ["double 8-6", "double 1 8-6 9", "double 8-6, double 9"])
def test_a_range_that_falls_has_no_blocks(text):
    with pytest.raises(ValueError, match="mask has double '8-6', which is no block"):
        parse_blocks(text)


@pytest.mark.parametrize("text", ["1000", "0-1000", "0-99999999999", "1 0-99999999999", "9" * 5000])
def test_numbers_of_no_stack_are_refused_and_no_range_of_them_is_made(text):
    """A list is read before a prompt runs, in the process that serves all."""
    with pytest.raises(ValueError, match="write the blocks that are reused, such as double 6-19"):
        parse_blocks(f"double {text}")


def test_neighbours_are_one_segment_and_none_crosses_the_seam():
    shape = StackShape((4, 5))
    assert shape.stretches(parse_blocks("double 0 2-3, single 0-1 4")) == (
        Segment(0, 0, 0),
        Segment(2, 3, 0),
        Segment(4, 5, 1),
        Segment(8, 8, 1),
    )
    assert StackShape((4,)).stretches(parse_blocks("blocks 1-2")) == (Segment(1, 2),)


@pytest.mark.parametrize(
    ("shape", "text", "words"),
    [
        ((4, 5), "single 5", r"single 5, but this model has 5 of them: write 0 to 4"),
        ((4, 5), "blocks 1", "the list says blocks, but this model has double and single"),
        ((9,), "double 1", "the list says double, but this model has blocks"),
    ],
)
def test_blocks_that_are_not_there_are_refused(shape, text, words):
    with pytest.raises(ValueError, match=words):
        StackShape(shape).stretches(parse_blocks(text))


# ---------------------------------------------------------------- runs

SHAPE = StackShape((2, 3))


def session(steps=50, **settings):
    settings = dict(indicator="profilingdit", predictor="reuse", mask="double 1, single 0-1", warmup_steps=1) | settings
    return CacheSession(CacheConfig(**settings), schedule(steps), shape=SHAPE)


def adding(*values):
    """A block that adds a number, for each number."""
    return [lambda h, value=value: h + value for value in values]


def test_inside_of_a_skipped_stretch_nothing_runs_and_its_last_sum_is_added_again():
    run = session()
    cache, h, ran = run_parts(run, 6, hidden(100.0), adding(1, 2, 4, 8, 16))
    assert (h[0, 0, 0], ran) == (131, [0, 1, 2, 3, 4])
    assert [d.reason for d in cache.decisions] == [Reason.ERROR]
    cache, h, ran = run_parts(run, 7, hidden(100.0), adding(10, 20, 40, 80, 160))
    assert ran == [0, 4]
    assert h[0, 0, 0] == 100 + 10 + 2 + (4 + 8) + 160
    assert cache.decisions[0].share == 2 / 5
    assert cache.decisions[0].reuse


def test_rows_are_each_rebuilt_from_their_own():
    run = session()
    run_parts(run, 6, hidden(1.0, 2.0, 3.0, 4.0), [*adding(1), lambda h: 3 * h, *adding(0, 0, 0)])
    _, h, _ = run_parts(run, 7, hidden(5.0, 5.0, 5.0, 5.0), adding(0, 99, 99, 99, 0))
    assert h[:, 0, 0].tolist() == [5 + 4, 5 + 6, 5 + 8, 5 + 10]  # R = 3 (x + 1) - (x + 1)


def test_only_what_the_next_call_uses_is_kept():
    """Steps 0 to 4 of the published schedule are followed by computed ones; so are 11 and 17 by 12 and 18."""
    run, held = session(), []
    for step in range(14):
        run_parts(run, step, hidden(1.0), adding(1, 1, 1, 1, 1))
        held.append(sum(t.numel() for history in run.histories for t in history.predictor.held))
    assert held == [0] * 6 + [8] * 8  # two stretches of four numbers each
    assert [round(5 * share) for share in run.statistics.shares] == [5] * 7 + [2] * 5 + [5, 2]


def test_what_is_held_is_what_the_formula_says():
    run = session()
    for step in (6, 7):
        run_parts(run, step, hidden(1.0, 2.0), adding(1, 1, 1, 1, 1))
    expected = CacheMemory(run.config, 2, 2, torch.float32, batch=2, segments=2).expected_bytes()
    assert run.histories.held_bytes() == expected == 2 * 2 * 16


def test_a_run_in_which_all_is_computed_keeps_nothing_and_watches_no_block():
    run = session(warmup_steps=50)
    for step in range(50):
        cache, _, _ = run_parts(run, step, hidden(1.0), adding(1, 1, 1, 1, 1))
        assert all(one.observations[0].h0 is None for one in cache.passes)
    assert run.histories.held_bytes() == 0
    assert run.statistics.shares == [1.0] * 50


def test_a_threshold_of_0_decides_on_no_part():
    run = session(threshold=0.0)
    cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(1.0))
    assert not hasattr(cache, "passes")
    assert cache.decide() == (False,)


def test_a_call_that_does_not_go_on_from_the_last_is_computed():
    run = session()
    run_parts(run, 6, hidden(1.0), adding(1, 1, 1, 1, 1))
    cache, _, ran = run_parts(run, 9, hidden(1.0), adding(1, 1, 1, 1, 1))
    assert ran == [0, 1, 2, 3, 4]
    assert cache.decisions[0].reason is Reason.NO_ANCHOR


def test_another_layout_is_computed():
    run = session()
    run_parts(run, 6, hidden(1.0), adding(1, 1, 1, 1, 1))
    cache, h, ran = run_parts(run, 7, torch.ones(1, 3, 2), adding(1, 1, 1, 1, 1))
    assert ran == [0, 1, 2, 3, 4]
    assert h[0, 0, 0] == 6
    assert cache.decisions[0].reason is Reason.NO_ANCHOR


def test_streams_of_one_image_skip_the_same_whichever_way_they_come():
    for order in (["positive", "negative"], ["negative", "positive"]):
        run = session()
        for step in range(6, 14):
            for stream in order:
                run_parts(run, step, hidden(1.0), adding(1, 1, 1, 1, 1), stream, group="image")
        samples = run.statistics.by_sample().values()
        assert [[d.reuse for _, d in sample] for sample in samples] == [[False] + [True] * 5 + [False, True]] * 2


def test_a_stream_that_comes_late_is_computed_once():
    run = session()
    for step in range(6, 10):
        run_parts(run, step, hidden(1.0), adding(1, 1, 1, 1, 1))
        if step > 7:
            _, _, ran = run_parts(run, step, hidden(1.0), adding(1, 1, 1, 1, 1), "late")
            assert len(ran) == {8: 5, 9: 2}[step]


def test_blocks_that_never_came_leave_nothing_to_go_on_from():
    run = session()
    run_parts(run, 6, hidden(1.0), adding(1, 1, 1, 1, 1))
    cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[7]))
    assert all(one.settle() for one in cache.passes)
    for one in cache.passes:
        one.miss()
    assert [d.reason for d in cache.decisions] == [Reason.NO_BLOCK_SEEN]
    assert cache.decisions[0].share == 1
    _, _, ran = run_parts(run, 8, hidden(1.0), adding(1, 1, 1, 1, 1))
    assert ran == [0, 1, 2, 3, 4]


def test_a_stream_that_becomes_another_image_is_computed_in_all_its_parts():
    run, far = session(), torch.tensor(0.5)
    keys = [SampleKey("cond", 0)]

    def at(step, value):
        x = torch.full((1, 4, 8, 8), value)
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]), x, None, far)
        for one in cache.passes:
            one.settle()
        for one in cache.passes:
            one.enter(hidden(1.0))
            one.complete(hidden(1.0))
        run.close(cache, Stopwatch(torch.device("cpu")))
        return cache.decisions[0]

    assert at(6, 1.0).reason is Reason.ERROR
    assert at(7, 1.0).share == 0.4
    at(8, 9.0)
    for sample in run.histories.with_unread_jumps(torch.device("cpu")):
        sample.read_input_jump(sample.input_jump.item())
    assert (at(9, 9.0).reason, at(10, 9.0).share) == (Reason.IMAGE_CHANGED, 1)
    assert run.histories.held_bytes() < 1024 + 4096


def test_out_of_memory_goes_on_without_a_cache():
    run = session()
    run_parts(run, 6, hidden(1.0), adding(1, 1, 1, 1, 1))
    run.abandon(Reason.OUT_OF_MEMORY)
    assert run.histories.held_bytes() == 0
    cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[7]))
    assert cache.decide() == (False,)


def test_a_longest_run_of_skipped_steps_holds_for_parts_too():
    run = session(max_consecutive=2)
    for step in range(6, 12):
        run_parts(run, step, hidden(1.0), adding(1, 1, 1, 1, 1))
    assert run.statistics.cells[:6] == "cppcpp"


def test_a_step_is_told_as_the_share_of_its_blocks_that_ran():
    run = session()
    for step in range(5, 9):
        run_parts(run, step, hidden(1.0, 2.0), adding(1, 1, 1, 1, 1))
    found = run_json(run.statistics, details=True)
    assert (found["cells"][:4], found["shares"]) == ("ccpp", [1.0, 1.0, 0.4, 0.4])
    assert (found["computed"], found["reused"]) == (2, 0)
    assert [step["share"] for step in found["samples"][0]["steps"]] == [1.0, 1.0, 0.4, 0.4]


def test_of_steps_that_are_skipped_as_a_whole_no_share_is_told():
    assert RunStatistics(schedule(), CacheConfig()).shares is None
