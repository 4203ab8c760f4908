"""Several processes with a slice of the tokens each, and several devices in threads: all decide as one does alone."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from core import ranks
from core.toys import hidden, run_pass, schedule, session

from dicache_core import CacheConfig, CacheSession, SampleKey, needs_stack
from dicache_core.engine.sample_history import SampleHistory
from dicache_core.methods.base import AuditedPredictor
from dicache_core.methods.predictors import predictor_class
from dicache_core.policies import POLICIES, named_policy
from dicache_core.ranks import summed_over
from dicache_core.timing import Stopwatch

SCRIPT = Path(ranks.__file__)
ONE_OF_8_BITS = 2e-3  # a value between two of 256 is rounded by its last bit, which the order of a sum decides
LOST = SCRIPT.with_name("lost_rank.py")


def finished(folder: Path, world: int) -> list[tuple[dict, dict]]:
    """Results and decisions of every rank of a run in ``world`` processes."""
    outs = [folder / f"{world}-{rank}.pt" for rank in range(world)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world), str(folder / f"store-{world}"), str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    for process in processes:
        _, error = process.communicate(timeout=200)
        assert process.returncode == 0, error
    return [(torch.load(out), json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))) for out in outs]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("alone"), 1)[0]


def choices(decisions):
    return [[d[:2] for d in step] for step in decisions]


def numbers(decisions):
    return [x for step in decisions for d in step for x in d[2:] if x is not None]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch is built without torch.distributed")
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_decide_alike_and_as_one_process_does(alone, tmp_path, world):
    results, decisions = alone
    found = finished(tmp_path, world)
    for name in ranks.RUNS:
        assert all(rank[1][name] == found[0][1][name] for rank in found), f"{name}: the ranks disagree"
        theirs, ours = decisions[name], found[0][1][name]
        if name == "some probe tokens":  # each rank chooses among its own: other ones than a single process
            continue
        assert choices(ours) == choices(theirs), name
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-4, abs=1e-6)
        whole = torch.cat([rank[0][name] for rank in found], dim=1)
        apart = (whole - results[name]).abs()
        assert apart.max() < (ONE_OF_8_BITS if name == "8 bits" else 1e-4), name
        assert (apart >= 1e-4).float().mean() < 1e-3, name


def test_the_runs_skip_some_and_compute_some(alone):
    for name, decisions in alone[1].items():
        reasons = {reason for step in decisions for _, reason, *_ in step}
        assert {"reused", "error"} <= reasons, name


def test_without_a_reducer_the_ranks_would_disagree():
    """What the reducer is for: the two ends of the picture move differently."""
    x = torch.linspace(0.01, 1, 64)[None, :, None].expand(1, 64, 4)
    told = []
    for part in (x[:, :32], x[:, 32:]):
        run = session(threshold=0.3)
        told.append([run_pass(run, i, part, part + i * 0.2, part)[0] for i in range(8)])
    assert told[0] != told[1]


# ---------------------------------------------------------------- several devices in threads


def passes_of(run, device: str, steps: int, probes, between):
    told = []
    for step in range(steps):
        between()
        keys = [SampleKey(("cond", device), 0)]
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]))
        stopwatch = Stopwatch(torch.device("cpu"))
        state = hidden(0.0)
        cache.enter(state)
        state = hidden(probes[step])
        if all(cache.probe(state)):
            cache.rebuild(state)
        else:
            state += step
            cache.complete(state)
        run.close(cache, stopwatch)
        told.append((cache.decisions, state))
    return told


@pytest.mark.parametrize("devices", [2, 8])
def test_streams_of_several_devices_in_threads(devices, monkeypatch):
    """The host's split of conds over devices: one session, a thread for each device, all at the same step."""
    steps = 200
    held, looked_into = SampleHistory.held, {}

    def watched(self):
        looked_into.setdefault(id(self), set()).add(threading.get_ident())
        return held.fget(self)

    monkeypatch.setattr(SampleHistory, "held", property(watched))
    probes = [[1.0 + (i * (d + 3) % 7) / 10 for i in range(steps)] for d in range(devices)]
    expected = [passes_of(session(steps), f"cuda:{d}", steps, probes[d], lambda: None) for d in range(devices)]
    looked_into.clear()
    run, barrier, found, errors = session(steps), threading.Barrier(devices), {}, []

    def work(d):
        try:
            found[d] = passes_of(run, f"cuda:{d}", steps, probes[d], barrier.wait)
        except Exception as error:
            errors.append(error)
            barrier.abort()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads interrupt each other after every few instructions
    try:
        threads = [threading.Thread(target=work, args=(d,)) for d in range(devices)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert [len(t) for t in looked_into.values()] == [1] * devices, "a thread looked into a history of another one"
    for d in range(devices):
        for (ours, out), (theirs, out_) in zip(found[d], expected[d], strict=True):
            assert ours == theirs
            assert torch.equal(out, out_)
    assert len(run.statistics.passes) == devices * steps
    assert any(d.reuse for decisions, _ in found[0] for d in decisions)


# ---------------------------------------------------------------- ranks that hold the same sample whole

WHOLE = [
    name
    for name, policy in POLICIES.items()
    if not policy.calibrated and not needs_stack(policy.applied_to(CacheConfig())) and policy.limited_by != "mask"
]
ESTIMATE_ERRORS = {name for name in WHOLE if issubclass(predictor_class(POLICIES[name].predictor), AuditedPredictor)}


def in_output(policy: str, reduce=None) -> tuple[list[bool], float | None]:
    """What a policy that looks at no block does in 20 steps of a toy model with two samples, and the run's risk."""
    config = named_policy(policy).applied_to(CacheConfig())
    if not config.target and named_policy(policy).limited_by == "threshold":
        config = replace(config, threshold=0.5)  # the toy moves more in a step than a model does
    run = CacheSession(config, schedule(20), reduce)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for sigma, after in zip(run.schedule.sigmas, run.schedule.sigmas[1:], strict=False):
        cache = run.forward([SampleKey("cond", row) for row in range(2)], run.schedule.step_at(sigma), x)
        output = torch.sin(x * (1 + sigma))
        v = cache.forecast() if all(cache.decide()) else cache.observe(output, x - sigma * output)
        if run.image_error_estimator is not None:
            run.image_error_estimator.add(x - sigma * v, cache.parts(x - sigma * v, [1.0, 1.0]))
        x = x + (after - sigma) * v
        run.close(cache, Stopwatch(torch.device("cpu")))
    run.finalize()
    return [d.reuse for passed in run.statistics.passes for d in passed.decisions], run.statistics.image_error


@pytest.mark.parametrize("policy", WHOLE)
def test_ranks_with_whole_outputs_may_add_up_their_sums(policy):
    """Where conds are split, every rank measures the same: decisions by four times a sum are those by the sum."""
    alone = in_output(policy)
    assert in_output(policy, lambda sums: 4 * sums) == alone
    assert {True, False} == set(alone[0])
    assert (alone[1] is not None) == (policy in ESTIMATE_ERRORS)


# ---------------------------------------------------------------- a rank that is gone


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch is built without torch.distributed")
@pytest.mark.parametrize("way", ["dies", "sleeps"])
def test_a_lost_rank_ends_the_others_with_an_error(tmp_path, way):
    processes = [
        subprocess.Popen(
            [sys.executable, str(LOST), str(rank), str(tmp_path / "store"), way],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        out, error = processes[0].communicate(timeout=60)
    finally:
        processes[1].kill()
        processes[1].communicate()
    first, waited = out.split("|")
    assert "another rank of this run is gone or stuck" in first, error
    assert float(waited) < 20


def test_nothing_is_added_up_where_nothing_is_shared():
    assert summed_over([]) is None
