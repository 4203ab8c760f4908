"""ProfilingDiT: the published lists and schedules, counted by hand."""

import pytest
from core.toys import schedule

from dicache_core import CacheConfig, resolve
from dicache_core.methods.profilingdit import PROFILES, ProfilingDiT
from dicache_core.observation import Observation
from dicache_core.policies import POLICIES, chosen_policy
from dicache_core.segments import StackShape


def running(config, shape, steps):
    """Per step, how many of the stack's blocks run, with what the configuration keeps out."""
    rule, segments, along = ProfilingDiT(config), ProfilingDiT.segments(config, shape), schedule(steps)
    found = []
    for step in (along.step_at(sigma) for sigma in along.sigmas[:-1]):
        open_here = config.block_reason(step, last=ProfilingDiT.computes_last) is None
        skipped = [s.blocks for s in segments if open_here and rule.planned_error(Observation(step, segment=s)) == 0]
        found.append(shape.blocks - sum(skipped))
    return found


def test_hunyuan_video_by_the_published_lists():
    config = resolve("hunyuan_video", policy=POLICIES["profilingdit"])
    runs = running(config, StackShape((20, 40)), 50)
    assert sum(runs) == 1632
    assert runs[:6] == [60] * 6
    assert runs[7] == 20 + 40 - 14 - 24 == 22  # both halves are reused
    assert runs[12] == 60 - 24  # double blocks are computed at every sixth step, single ones are not
    assert runs[26] == 60 - 14  # and the other way round
    assert runs[6] == runs[18] == 60
    assert runs[49] == 22, "the last step too"
    assert len(ProfilingDiT.segments(config, StackShape((20, 40)))) == 9


def test_wan_by_the_published_list():
    config = resolve("wan", policy=POLICIES["profilingdit"])
    runs = running(config, StackShape((40,)), 50)
    assert sum(runs) == 992
    assert [step for step, count in enumerate(runs) if count == 40] == [*range(6), *range(6, 50, 6)]
    assert set(runs) == {40, 12}
    assert len(ProfilingDiT.segments(config, StackShape((40,)))) == 5


@pytest.mark.parametrize("steps", [20, 100])
def test_another_number_of_steps_takes_the_numbers_of_the_steps_as_they_are(steps):
    runs = running(resolve("wan", policy=POLICIES["profilingdit"]), StackShape((40,)), steps)
    assert [step for step, count in enumerate(runs) if count == 40] == [*range(6), *range(6, steps, 6)]
    runs = running(resolve("hunyuan_video", policy=POLICIES["profilingdit"]), StackShape((20, 40)), steps)
    single = [6, 18, 26, 32, 38, 42, 46, 48, *range(54, 100, 6)]
    assert [step for step, count in enumerate(runs) if count in (60, 60 - 14)][6:] == [s for s in single if s < steps]


def test_a_typed_list_is_taken_on_every_model_at_the_schedule_of_every_sixth_step():
    policy = chosen_policy("profilingdit", mask="double 1, single 0-1")
    for architecture in ("flux", "hunyuan_video", "no such model"):
        config = resolve(architecture, policy=policy)
        assert config.target == ""
        runs = running(config, StackShape((2, 3)), 50)
        assert runs.count(2) == 36
        assert runs.count(5) == 14


@pytest.mark.parametrize(
    ("architecture", "shape", "words"),
    [
        (
            "flux",
            (19, 38),
            "for HunyuanVideo and Wan, and none for Flux: in mask of DiCache Policy write",
        ),
        (
            "hunyuan_video",
            (20, 38),
            "with 20 double and 40 single blocks, this one has 20 double and 38 single",
        ),
        ("wan", (30,), "a model with 40 blocks, this one has 30 blocks: in mask of DiCache Policy write"),
    ],
)
def test_without_a_list_of_its_own_a_model_is_refused(architecture, shape, words):
    with pytest.raises(ValueError, match=words):
        ProfilingDiT.segments(resolve(architecture, policy=POLICIES["profilingdit"]), StackShape(shape))


def test_a_mask_of_spaces_was_not_typed():
    assert chosen_policy("profilingdit", mask="  ") == POLICIES["profilingdit"]


def test_a_call_that_nobody_expected_is_computed():
    along = schedule(50)
    step = along.step_at(along.sigmas[7] - 0.001)
    assert not step.planned
    (segment, *_) = PROFILES["wan"].shape.stretches(PROFILES["wan"].blocks)
    assert ProfilingDiT(CacheConfig(architecture="wan")).planned_error(Observation(step, segment=segment)) > 1


def test_a_speed_is_refused():
    with pytest.raises(ValueError, match="target is '2x', but this policy follows its mask"):
        chosen_policy("profilingdit", target="2x")
    with pytest.raises(ValueError, match=r"threshold is 0\.3, but this policy follows its mask"):
        chosen_policy("profilingdit", threshold=0.3)
