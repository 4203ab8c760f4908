"""What a run is said to have done, and why it skipped nothing."""

from dataclasses import replace

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, Reason, RunStatistics, SampleKey, method_of, resolve, threshold_of
from dicache_core.effective_settings import interval_of, probe_depth_of
from dicache_core.engine.decision import Decision
from dicache_core.explain import Nothing, why_nothing
from dicache_core.policies import NAMED, POLICIES, chosen_policy, named_policy, title
from dicache_core.presets import published
from dicache_core.reasons import NoSkip
from dicache_core.run_statistics import PassRecord
from dicache_core.schedule import Schedule
from dicache_core.timing import Stopwatch


def run(config: CacheConfig, steps: int, passes: int | None = None, stream=lambda step: "cond"):
    """Statistics of a run on a model whose state doubles from step to step: an error of 1 on every one."""
    session = CacheSession(config, schedule(steps))
    for index in range(steps if passes is None else passes):
        step = session.schedule.step_at(session.schedule.sigmas[index])
        cache = session.forward([SampleKey(stream(index), 0)], step, torch.full((1, 1, 2, 2), 2.0**index))
        if session.needs_no_stack:
            v = cache.forecast() if all(cache.decide()) else cache.observe(torch.ones(1, 1, 2, 2))
            assert v.shape == (1, 1, 2, 2)
        else:
            state = torch.full((1, 2, 2), 2.0**index)
            cache.enter(state)
            if all(cache.probe(state)):
                cache.rebuild(state)
            else:
                cache.complete(state + 1)
        session.close(cache, Stopwatch(torch.device("cpu")))
    return session.statistics


@pytest.mark.parametrize(
    ("config", "steps", "reason"),
    [
        (CacheConfig(threshold=0.0), 12, "threshold 0"),
        (resolve("flux", "fast"), 3, "few steps"),
        (resolve("flux", "balanced"), 2, "few steps"),
        (resolve("no such model", "published"), 8, "few steps"),
        (resolve("flux", "fast", threshold=5.0), 8, "few steps"),
        (resolve("flux", policy=chosen_policy("forecast", target="1x")), 12, "target"),
        (resolve("flux", policy=chosen_policy("forecast", target="12")), 12, "target"),
        (resolve("flux", "balanced", warmup_steps=12), 12, None),  # a target leaves half of its steps
        (replace(published("flux"), warmup_steps=11), 12, "closed"),
        (replace(published("flux"), end_percent=0.1), 12, "closed"),
        (resolve("flux", policy=chosen_policy("output_reuse", interval=1)), 12, "interval"),
        (published("flux"), 12, "error"),
        (resolve("flux", "published", threshold=1.5), 12, None),
        (resolve("flux", "balanced"), 12, None),
    ],
)
def test_why_nothing_was_skipped(config, steps, reason):
    found = why_nothing(run(config, steps))
    assert (found and found.reason) == reason


def test_the_smallest_error_is_named():
    assert why_nothing(run(published("flux"), 12)) == Nothing("error", 1.0)


def test_a_run_of_ever_new_streams_has_no_history():
    assert why_nothing(run(published("flux"), 12, stream=lambda step: step)) == Nothing("no history")


def of_one_step(evaluations: int) -> RunStatistics:
    found = RunStatistics(Schedule((0.5, 0.4), steps_before=8, steps_after=7), resolve("flux", "balanced"))
    for _ in range(evaluations):
        step = found.schedule.step_at(0.5)
        last = (Decision(reuse=False, reason=Reason.LAST_STEP),)
        found.record(PassRecord(step, (SampleKey(0, 0),), last, Stopwatch(torch.device("cpu"))))
    found.finished = True
    return found


@pytest.mark.parametrize(
    ("evaluations", "reason"), [(1, NoSkip.ONE_STEP), (2, NoSkip.ONE_STEP), (24, NoSkip.OWN_STEPS)]
)
def test_a_run_of_one_step_has_nothing_to_skip_between(evaluations, reason):
    """Samplers that go step by step sample like that; one that evaluates the model often has a schedule of its own."""
    assert why_nothing(of_one_step(evaluations)) == Nothing(reason)


@pytest.mark.parametrize(
    ("decided", "known", "reason"),
    [
        (Reason.RISING_NOISE, True, NoSkip.RISING_NOISE),
        (Reason.IMAGE_CHANGED, True, NoSkip.IMAGE_CHANGED),
        (Reason.VETO, True, NoSkip.VETO),
        (Reason.VETO, False, NoSkip.UNKNOWN_SAMPLER),
        (Reason.LAST_STEP, True, NoSkip.NOT_OPEN),
    ],
)
def test_what_was_decided_explains_it(decided, known, reason):
    found = RunStatistics(schedule(12), resolve("flux", "balanced"))
    for sigma in found.schedule.sigmas[:-1]:
        step, decisions = found.schedule.step_at(sigma), (Decision(reuse=False, reason=decided),)
        found.record(PassRecord(step, (SampleKey(0, 0),), decisions, Stopwatch(torch.device("cpu"))))
    found.sampler_known = known
    assert why_nothing(found) == Nothing(reason)


def test_a_run_that_was_stopped_is_not_explained():
    assert why_nothing(run(published("flux"), 12, passes=5)) is None


def test_every_policy_is_told_by_its_rules_and_has_a_title():
    for name in POLICIES:
        assert method_of(resolve("flux", policy=named_policy(name))) == name
        assert title(name).startswith(NAMED[name].title)
    assert [title(name) for name in ("dicache", "output_line", "fbcache")] == [
        "DiCache (the paper's method)", "output line (developed here)", "FBCache",
    ]  # fmt: skip


def test_presets_and_rules_of_ones_own():
    assert [method_of(resolve("wan", preset)) for preset in ("published", "balanced")] == ["dicache", "forecast"]
    assert method_of(resolve("wan", "balanced", threshold=0.2)) == "dicache"
    assert title(method_of(CacheConfig(indicator="fixed", predictor="trajectory"))) == "a custom method"


@pytest.mark.parametrize(
    ("config", "threshold", "interval", "depth"),
    [
        (published("flux"), 0.4, None, 1),
        (resolve("flux", "balanced"), None, None, None),
        (resolve("flux", "balanced", probe_depth=3), 0.4, None, 3),
        (resolve("flux", policy=named_policy("foca")), None, 3, None),
        (resolve("flux", policy=named_policy("hyca")), None, 3, 1),  # its predictor looks at the probe
        (resolve("flux", policy=chosen_policy("foca", target="2x")), None, None, None),
        (resolve("flux", policy=chosen_policy("foca", threshold=0.0)), 0.0, None, None),
        (resolve("flux", policy=named_policy("step_mask")), None, None, None),
        (resolve("flux", policy=named_policy("teacache")), 0.4, None, None),
    ],
)
def test_only_what_is_in_force_is_shown(config, threshold, interval, depth):
    assert (threshold_of(config), interval_of(config), probe_depth_of(config)) == (threshold, interval, depth)
