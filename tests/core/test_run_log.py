"""The log of a node's runs, and statistics that can be kept and written as JSON."""

import json
import math

import pytest
import torch

from dicache_core import (
    CacheConfig,
    CacheSession,
    Decision,
    PassRecord,
    RunLog,
    RunStatistics,
    SampleKey,
    Schedule,
    Stopwatch,
)
from dicache_core.run_log import MOST_RUNS

SCHEDULE = Schedule((1.0, 0.75, 0.5, 0.25, 0.0))


class Watch:
    """A stopwatch that shows what it is told."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds


def run_of(prompt: str | None) -> RunStatistics:
    run = RunStatistics(SCHEDULE, CacheConfig(threshold=0.1))
    run.prompt = prompt
    return run


def record(run: RunStatistics, index: int, decision: Decision, seconds: float | None, stream: int = 0) -> None:
    step = SCHEDULE.step_at(SCHEDULE.sigmas[index])
    run.record(PassRecord(step, (SampleKey(stream, 0),), (decision,), Watch(seconds)))


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
    assert log.dropped == 20
    other = run_of("b")
    log.append(other)
    assert (log.runs, log.dropped) == ([other], 0)


def test_statistics_hold_nothing_of_what_names_a_stream():
    class Patch:
        """Stands for a foreign patch, which may hold a model."""

    session = CacheSession(CacheConfig(threshold=0.1), SCHEDULE)
    for stream in (Patch(), Patch()):
        passed = session.forward([SampleKey(stream, 0)], SCHEDULE.step_at(1.0))
        passed.decide()
        session.close(passed, Stopwatch(torch.device("cpu")))
    assert [key.stream for key in session.statistics.lanes()] == [0, 1]


def test_saved_seconds_are_measured_against_a_computed_pass():
    run = run_of(None)
    record(run, 0, Decision(False, "warm-up"), 2.0)
    record(run, 1, Decision(True, "reused", 0.01, 0.01, 1.0), 0.5)
    record(run, 2, Decision(False, "error", math.inf, math.inf), 4.0)
    record(run, 3, Decision(False, "last step"), 2.0)
    assert run.cells == "wrcl"
    assert run.saved_seconds == 1.5
    assert run.speedup == 10.0 / 8.5
    assert run.seconds_per_step() == [2.0, 0.5, 4.0, 2.0]


def test_several_passes_of_a_step_add_up_and_unmeasured_ones_stay_unknown():
    run = run_of(None)
    record(run, 0, Decision(False, "warm-up"), 2.0)
    record(run, 0, Decision(False, "warm-up"), 1.0, stream=1)
    record(run, 1, Decision(False, "error"), None)
    assert run.seconds_per_step() == [3.0, None, None, None]


def test_summary_is_json_even_with_an_infinite_error():
    run = run_of(None)
    record(run, 0, Decision(False, "error", math.inf, math.nan), 1.0)
    summary = json.loads(json.dumps(run.summary(), allow_nan=False))
    assert summary["lanes"][0]["steps"][0]["error"] is None
    assert summary["computed"] == 1
    assert summary["settings"]["threshold"] == 0.1
    assert summary["settings"]["warmup_steps"] == 1
