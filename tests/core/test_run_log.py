"""The log of a node's runs, and statistics that can be kept and written as JSON."""

import json
import math

import pytest
import torch

from dicache_core import CacheConfig, CacheSession, Reason, RunLog, RunStatistics, SampleKey, run_json
from dicache_core.engine.decision import Decision
from dicache_core.run_log import MOST_RUNS
from dicache_core.run_statistics import PassRecord
from dicache_core.schedule import Schedule, in_sequences
from dicache_core.timing import Stopwatch

SCHEDULE = Schedule((1.0, 0.75, 0.5, 0.25, 0.0))


class Watch:
    """A stopwatch that shows what it is told."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


def run_of(prompt: str | None) -> RunStatistics:
    run = RunStatistics(SCHEDULE, CacheConfig(threshold=0.1))
    run.prompt = prompt
    return run


def record(run, index: int, decision: Decision, seconds: float | None, stream: int = 0, **evaluation: int) -> None:
    step = SCHEDULE.step_at(SCHEDULE.sigmas[index])
    run.record(PassRecord(step, (SampleKey(stream, 0),), (decision,), Watch(seconds), **evaluation))


def test_runs_of_one_prompt_are_kept_and_those_of_the_last_one_dropped():
    log = RunLog()
    first, second, third = run_of("a"), run_of("a"), run_of("b")
    log.append(first)
    log.append(second)
    assert log.runs == [first, second]
    log.append(third)
    assert log.runs == [third]


@pytest.mark.parametrize("prompt", [None, "a"])
def test_a_script_or_a_loop_keeps_the_latest_runs_only(prompt):
    log, runs = RunLog(), [run_of(prompt) for _ in range(MOST_RUNS + 20)]
    for run in runs:
        log.append(run)
    assert log.runs == runs[20:]
    other = run_of("b")
    log.append(other)
    assert log.runs == [other]


def test_statistics_hold_nothing_of_what_names_a_stream():
    class Patch:
        """Stands for a foreign patch, which may hold a model."""

    session = CacheSession(CacheConfig(threshold=0.1), SCHEDULE)
    for stream in (Patch(), Patch()):
        passed = session.forward([SampleKey(stream, 0)], SCHEDULE.step_at(1.0))
        passed.decide()
        session.close(passed, Stopwatch(torch.device("cpu")))
    assert [key.stream for key in session.statistics.by_sample()] == [0, 1]


def test_saved_seconds_are_measured_against_a_computed_pass():
    run = run_of(None)
    record(run, 0, Decision(False, Reason.WARM_UP), 2.0)
    record(run, 1, Decision(True, Reason.REUSED, 0.01, 0.01, 1.0), 0.5)
    record(run, 2, Decision(False, Reason.ERROR, math.inf, math.inf), 4.0)
    record(run, 3, Decision(False, Reason.LAST_STEP), 2.0)
    assert run.cells == "wrcl"
    assert run.saved_seconds == 1.5
    assert run.speedup == 10.0 / 8.5
    assert run.seconds_per_step() == [2.0, 0.5, 4.0, 2.0]


WARM, SKIPPED, LAST = (
    Decision(False, Reason.WARM_UP),
    Decision(True, Reason.REUSED, 0.01, 0.01, 1.0),
    Decision(False, Reason.LAST_STEP),
)


def test_several_passes_of_an_evaluation_add_up_and_unmeasured_ones_stay_unknown():
    run = run_of(None)
    record(run, 0, WARM, 2.0, evaluation=0)
    record(run, 0, WARM, 1.0, stream=1, evaluation=0)
    record(run, 1, Decision(False, Reason.ERROR), None, evaluation=1)
    assert run.seconds_per_step() == [3.0, None, None, None]
    assert run.cells == "wc--"


def test_cells_are_the_samplers_own_evaluations_and_not_the_steps_of_the_schedule():
    """Two at each step but the last, as of Heun's method: half of them skipped is told as half of them."""
    run = RunStatistics(
        Schedule(SCHEDULE.sigmas, sequences=in_sequences((1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25))), run_of(None).config
    )
    for index, decision in ((0, WARM), (1, SKIPPED), (1, WARM), (2, SKIPPED), (2, WARM)):
        record(run, index, decision, 1.0)
    assert run.cells == "wrwrw--", "seven are expected of this sampler"
    assert not run.by_steps
    record(run, 3, SKIPPED, 1.0)
    record(run, 3, LAST, 1.0)
    assert (run.computed, run.reused, run.schedule.steps) == (4, 3, 4)
    assert run_json(run)["evaluations"] == 7


def test_sigmas_that_the_schedule_does_not_hold_leave_no_holes():
    """As of a sampler that tells the model less noise than its schedule says, or that goes up again."""
    run = run_of(None)
    for sigma in (1.0, 0.6, 0.3, 0.3):
        run.record(PassRecord(SCHEDULE.step_at(sigma), (SampleKey(0, 0),), (WARM,), Watch(1.0)))
    run.finished = True
    assert run.cells == "wwww"
    assert [step["step"] for step in run_json(run, details=True)["samples"][0]["steps"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(("stopped", "cells"), [(False, "wr"), (True, "wr--")])
def test_only_a_run_that_was_stopped_has_cells_to_come(stopped, cells):
    """A sampler may need fewer evaluations than its schedule has steps, as those do that choose them."""
    run = run_of(None)
    record(run, 0, WARM, 1.0)
    record(run, 1, SKIPPED, 1.0)
    run.finished, run.stopped = True, stopped
    assert run.cells == cells


def test_what_the_host_does_between_two_passes_is_part_of_the_speed_up(monkeypatch):
    """A ControlNet of 1 s before passes of 2 s, of which a skip leaves nothing: 1 s in place of 3, not 0 of 2."""
    now = iter((0.0, 2.0, 5.0, 6.0, 9.0))  # begin; then the end of each pass
    monkeypatch.setattr("dicache_core.timing.time.perf_counter", lambda: next(now))
    session, cpu = CacheSession(CacheConfig(threshold=1.0), SCHEDULE), torch.device("cpu")
    for index, decision in enumerate((WARM, WARM, SKIPPED, LAST)):
        passed = session.forward([SampleKey("cond", 0)], SCHEDULE.step_at(SCHEDULE.sigmas[index]))
        passed.decisions = [decision]
        session.close(passed, session.stopwatch(cpu))
    assert session.statistics.seconds_per_step() == [2.0, 3.0, 1.0, 3.0]
    assert session.statistics.saved_seconds == 2.0
    assert session.statistics.speedup == 11.0 / 9.0


def test_streams_have_the_hosts_names():
    session = CacheSession(CacheConfig(threshold=0.1), SCHEDULE)
    session.roles = {"a": "positive", "b": "negative", "c": "positive"}
    passed = session.forward([SampleKey(stream, 0) for stream in "abcd"], SCHEDULE.step_at(1.0))
    passed.decide()
    session.close(passed, Stopwatch(torch.device("cpu")))
    samples = run_json(session.statistics, details=True)["samples"]
    named = [("positive", 1), ("negative", 1), ("positive", 2), ("", 1)]
    assert [(sample["role"], sample["number"]) for sample in samples] == named


def test_summary_is_json_even_with_an_infinite_error():
    run = run_of(None)
    record(run, 0, Decision(False, Reason.ERROR, math.inf, math.nan), 1.0)
    summary = json.loads(json.dumps(run_json(run, details=True), allow_nan=False))
    assert summary["samples"][0]["steps"][0]["error"] is None
    assert summary["computed"] == 1
    assert summary["settings"]["threshold"] == 0.1
    assert summary["effective"]["warmup_steps"] == 1
