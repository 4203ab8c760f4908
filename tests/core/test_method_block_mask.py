"""A mask of blocks after Learning-to-Cache: recorded, read and followed by hand."""

import json

import pytest
import torch
from core.toys import hidden, run_parts, schedule

from dicache_core import CacheConfig, CacheSession, Calibration, Reason, SampleKey, resolve
from dicache_core.calibration import calibration_of, recording_config
from dicache_core.engine.block_recorder import BlockRecorder
from dicache_core.engine.decision import Decision
from dicache_core.methods.block_mask import BlockMask
from dicache_core.methods.recorder import GAPS
from dicache_core.observation import Observation
from dicache_core.policies import chosen_policy
from dicache_core.run_statistics import PassRecord
from dicache_core.segments import StackShape
from dicache_core.timing import Measured, Stopwatch

# Of ten steps and three blocks: the first never changes by less than 0.05, the last changes ever less.
CHANGES = ((0.0, 0.0, 0.0), *((0.08, 0.02, 0.1 - step / 100) for step in range(1, 10)))
SHAPE = StackShape((1, 2))


def session(steps=10, threshold=0.05, changes=CHANGES):
    curve = Calibration("flux", (0.0,) * len(changes), blocks=changes)
    policy = chosen_policy("block_mask", threshold=threshold, calibration=curve)
    return CacheSession(resolve("flux", policy=policy), schedule(steps), shape=SHAPE)


def ran(run, step, adds=(1, 2, 4)):
    _, h, found = run_parts(run, step, hidden(100.0), [lambda h, a=a: h + a for a in adds])
    return found, h[0, 0, 0].item()


def test_every_second_step_is_full_and_the_next_reuses_what_the_mask_says():
    run = session()
    found = [ran(run, step)[0] for step in range(10)]
    assert found[::2] == [[0, 1, 2]] * 5
    # the last block's change at steps 1, 3, 5, 7, 9: 0.09, 0.07, 0.05 (not less than the threshold), 0.03, 0.01
    assert found[1::2] == [[0, 2], [0, 2], [0, 2], [0], [0]]
    assert run.statistics.cells == "wpcpcpcpcp"


def test_a_skipped_block_adds_what_it_added_at_the_step_before():
    run = session()
    for step in range(6):
        ran(run, step)
    assert ran(run, 6, (1, 2, 4)) == ([0, 1, 2], 107)
    assert ran(run, 7, (10, 99, 99)) == ([0], 100 + 10 + 2 + 4)
    assert ran(run, 8, (5, 6, 7)) == ([0, 1, 2], 118)
    assert ran(run, 9, (10, 99, 99)) == ([0], 100 + 10 + 6 + 7)


def test_nothing_is_kept_of_a_block_that_the_next_step_computes():
    """The last block is reused at steps 7 and 9 alone."""
    run, kept = session(), []
    for step in range(10):
        cache, *_ = run_parts(run, step, hidden(100.0), [lambda h, a=a: h + a for a in (1, 2, 4)])
        kept.append([sample.predictor.ready for passed in cache.passes for sample in passed.samples])
    assert kept == [[True, False]] * 6 + [[True, True]] * 4


def test_two_times_is_its_ceiling():
    run = session(threshold=10.0)
    for step in range(10):
        ran(run, step)
    assert sum(run.statistics.shares) == 5


def test_fewer_steps_than_were_recorded_change_as_much_more():
    rule = BlockMask(session(5).config)
    step = schedule(5).step_at(schedule(5).sigmas[3])  # progress 0.6: the recorded step 6, two of which are one here
    (_, second, *_) = BlockMask.segments(rule.config, SHAPE)
    assert second.first == 2
    assert rule.planned_error(Observation(step, segment=second)) == pytest.approx(2 * 0.04)


def test_blocks_that_never_change_little_are_not_watched():
    assert [segment.first for segment in session().run.segments] == [1, 2]


@pytest.mark.parametrize(
    ("threshold", "shape", "words"),
    [
        (0.005, (1, 2), r"threshold is 0\.005, and no block changed by less than 0\.01 in the calibrating run"),
        (0.05, (1, 3), "this calibration is of a model with 3 blocks, and this one has 4: run DiCache Calibrate"),
    ],
)
def test_refusals(threshold, shape, words):
    with pytest.raises(ValueError, match=words):
        BlockMask.segments(CacheConfig(threshold=threshold, block_changes=CHANGES), StackShape(shape))


def test_an_older_calibration_is_refused():
    with pytest.raises(ValueError, match="needs a calibration that recorded the model's blocks: run DiCache Calibrate"):
        BlockMask(CacheConfig())


def recorded():
    """Block 0 adds 10, 12 to 100, 110; block 1 adds 5 and 5; of a second sample twice as much."""
    run = CacheSession(recording_config(), schedule(4), shape=SHAPE)
    keys = [SampleKey("cond", row) for row in range(2)]
    for step, (h, first) in enumerate([(100.0, 10.0), (110.0, 12.0), (100.0, 12.0), (100.0, 12.0)]):
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]), hidden(h, h))
        cache.enter(hidden(h, h))
        cache.decide()
        run.run.block_recorder.see(keys, cache.step, 0, hidden(h, h), hidden(h + first, h + 2 * first))
        run.run.block_recorder.see(keys, cache.step, 1, hidden(h, h), hidden(h + 5, h + 10))
        cache.complete(hidden(h + 1, h + 1))
        run.close(cache, Stopwatch(torch.device("cpu")))
    run.finalize()
    return run.statistics


def test_changes_are_recorded_by_hand_and_kept_in_the_file():
    run = recorded()
    found = run.block_changes
    assert found[0] == found[2] == found[3] == (0.0, 0.0)
    assert found[1] == pytest.approx(((2 / 110 + 4 / 110) / 2, 0.0))
    curve = calibration_of(run)
    assert curve.blocks == ((0.0, 0.0), (0.0273, 0.0), (0.0, 0.0), (0.0, 0.0))
    assert Calibration.from_json(curve.to_json()) == curve
    assert curve.settings_for("")["block_changes"] == curve.blocks


@pytest.mark.parametrize(("blocks", "kept"), [(2, True), (12, False)])
def test_what_is_saved_can_be_read_again(blocks, kept):
    """Of 330 steps there is no room for twelve blocks beside the other tables."""
    steps, generator = 330, torch.Generator().manual_seed(0)
    run = CacheSession(recording_config(), schedule(steps)).statistics
    run.block_changes = tuple(map(tuple, torch.rand(steps, blocks, generator=generator).mul(0.01).tolist()))
    numbers = torch.rand(steps, 2 + 2 * (1 + GAPS), generator=generator).mul(0.01)
    for index, row in enumerate(numbers.tolist()):
        decision = Decision(reuse=False, reason=Reason.ERROR, measured=tuple(row))
        step = run.schedule.step_at(run.schedule.sigmas[index])
        run.record(PassRecord(step, (SampleKey(0, 0),), (decision,), Measured(0.0)))
    curve = calibration_of(run)
    assert bool(curve.blocks) == kept
    assert Calibration.from_json(curve.to_json()) == curve


def test_a_file_without_blocks_is_as_it_was():
    text = Calibration("flux", (0.0, 0.9)).to_json()
    assert "blocks" not in json.loads(text)
    assert Calibration.from_json(text).blocks == ()
    with pytest.raises(ValueError, match='"blocks" of the calibration is not a list of rows, one per step'):
        Calibration.from_json('{"version": 2, "architecture": "flux", "ratios": [0, 1], "blocks": [[1]]}')


def test_only_a_step_that_follows_is_compared():
    recorder, along = BlockRecorder(), schedule(10)
    keys = [SampleKey("cond", 0)]
    for step in (0, 2, 3):
        recorder.see(keys, along.step_at(along.sigmas[step]), 0, hidden(1.0), hidden(2.0 + step))
    assert recorder.table(5, None) == ((0.0,), (0.0,), (0.0,), (1.0,), (0.0,))
    assert BlockRecorder().table(2, None) == ((), ())
