"""What one pass costs: copies, device syncs, and memory that already exists."""

import ast
from pathlib import Path

import pytest
import torch
from core.toys import session
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dicache_core import SampleKey

REPO = Path(__file__).resolve().parents[2]
TOKENS, WIDTH = 4096, 16
FULL = TOKENS * WIDTH * 4
# Every place that may read a tensor's value; two are the syncs of a pass (reductions, sigma), others outside of one.
READINGS = {
    ("dicache_core/reductions.py", "tolist"): 1,
    ("dicache_core/engine/paced_gate.py", "tolist"): 1,  # of a plan, on the CPU, before the first decision
    ("model_patchers/sigma.py", "tolist"): 1,
    ("model_patchers/run_schedule.py", "tolist"): 1,
    ("model_patchers/sampler_probe.py", "cpu"): 1,
    ("model_patchers/fingerprint.py", "numpy"): 1,
    ("model_patchers/tuning_runs.py", "cpu"): 2,
    ("model_patchers/tuning_runs.py", "tolist"): 1,
    ("dicache_core/tuning/plan_search.py", "item"): 3,
    ("model_patchers/sampler_probe.py", "tolist"): 3,
    ("model_patchers/compare.py", "tolist"): 1,
}


class Watch(TorchDispatchMode):
    """New memory of at least one sample's hidden state, and reads of values by the host."""

    def __init__(self):
        super().__init__()
        self.allocated, self.reads, self._known = 0, 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = {_memory(t) for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        self.reads += func is torch.ops.aten._local_scalar_dense.default
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and _memory(t) not in before and t.untyped_storage().nbytes() >= FULL:
                self.allocated += t.untyped_storage().nbytes()
        return out


def _memory(t):
    return t.untyped_storage().data_ptr()


def watched_pass(run, step, h0, hm, hM):
    """(pass, what it cost) of one pass whose hidden states exist already."""
    with Watch() as watch:
        keys = [SampleKey("cond", row) for row in range(len(h0))]
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]))
        cache.enter(h0)
        if all(cache.probe(hm)):
            cache.rebuild(hm)
        else:
            cache.complete(hM)
    return cache, watch


@pytest.mark.parametrize("batch", [1, 2])
def test_one_copy_per_pass_and_the_rest_in_memory_that_exists(batch):
    run, generator = session(steps=10, warmup_steps=3, threshold=1e9), torch.Generator().manual_seed(0)
    reused = 0
    for step in range(10):
        h0, hm, hM = (torch.randn(batch, TOKENS, WIDTH, generator=generator) for _ in range(3))
        cache, watch = watched_pass(run, step, h0, hm, hM)
        assert watch.allocated == batch * FULL, f"step {step} took {watch.allocated / FULL} full-size tensors"
        assert watch.reads == 0
        reused += cache.all_reused
    assert reused == 6


def test_the_residual_lies_in_the_memory_of_the_copy():
    run = session(warmup_steps=5)
    h0, hm, hM = (torch.randn(1, TOKENS, WIDTH) for _ in range(3))
    keys = [SampleKey("cond", 0)]
    cache = run.forward(keys, run.schedule.step_at(1.0))
    cache.enter(h0)
    copy = _memory(cache._inputs[0])
    cache.probe(hm)
    cache.complete(hM)
    (residual,) = [t for t in cache.samples[0].held if t.shape == (TOKENS, WIDTH)]
    assert _memory(residual) == copy
    assert torch.equal(residual, (hM - h0)[0])


def test_the_estimate_is_written_where_it_is_wanted():
    run = session(warmup_steps=2, threshold=1e9)
    state = [torch.randn(1, TOKENS, WIDTH) for _ in range(3)]
    for step in range(2):
        watched_pass(run, step, *(s + step for s in state))
    cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[2]))
    out = state[1].clone()
    cache.enter(state[0])
    assert all(cache.probe(out))
    with Watch() as watch:
        cache.rebuild(out)
    assert watch.allocated == 0
    assert not torch.equal(out, state[1])


def test_values_are_read_in_known_places_only():
    """``item``, ``tolist``, ``numpy`` and ``cpu`` wait for the device; so does ``bool(tensor)``, counted above."""
    found = {}
    for folder in ("dicache_core", "model_patchers"):
        for file in (REPO / folder).rglob("*.py"):
            name = file.relative_to(REPO).as_posix()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in ("item", "tolist", "numpy", "cpu", "synchronize"):
                    found[name, node.attr] = found.get((name, node.attr), 0) + 1
    assert found == READINGS
