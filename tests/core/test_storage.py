"""Residuals at rest: untouched, in main memory, in 8 bits; and what happens when there is no memory for them."""

import pytest
import torch
from core.toys import hidden, run_pass, session

from dicache_core import SampleKey
from dicache_core.engine.storage import OUT_OF_MEMORY, CacheOutOfMemoryError, Storage
from dicache_core.reasons import Reason


class Elsewhere(Storage):
    """Main memory that is not the model's, on a machine that has one memory only: every journey is a copy."""

    def __init__(self, **settings):
        super().__init__(in_main_memory=True, **settings)
        self.journeys = []

    def _send(self, part):
        self.journeys.append("out")
        copy = part.clone()
        part.fill_(torch.nan if part.is_floating_point() else 99)  # the model's side may be used for something else
        return copy

    def _bring(self, part, device):
        self.journeys.append("back")
        return part.clone()


def outputs(run, steps=10):
    """(decisions, hM) per step of a run that moves along a curve."""
    generator = torch.Generator().manual_seed(0)
    base, way = (torch.randn(2, 60, 8, generator=generator) for _ in range(2))
    return [
        run_pass(run, step, base + step * way / 50, base * 2 + step**1.2 * way / 20, 5 * way + step * base)
        for step in range(steps)
    ]


def test_beside_the_model_nothing_is_copied():
    storage, value = Storage(), torch.randn(5, 3)
    stored = storage.keep(value)
    assert stored.parts[0] is value
    assert storage.load(stored) is value


def test_on_one_memory_the_main_memory_is_the_same_memory():
    storage, value = Storage(in_main_memory=True), torch.randn(5, 3)
    stored = storage.keep(value)
    assert storage.load(stored).data_ptr() == value.data_ptr()


def test_results_do_not_depend_on_where_residuals_rest():
    here, there = session(threshold=0.3), session(threshold=0.3, storage=Elsewhere())
    main = session(threshold=0.3, cache_device="cpu")
    assert main.run.storage.in_main_memory
    expected = outputs(here)
    assert any(all(reuse) for reuse, _ in expected)
    for run in (there, main):
        for (reuse, hM), (expected_reuse, expected_hM) in zip(outputs(run), expected, strict=True):
            assert reuse == expected_reuse
            assert torch.equal(hM, expected_hM)


def test_what_was_fetched_is_not_brought_back_again():
    storage, value = Elsewhere(), torch.randn(5, 3)
    stored, other = storage.keep(value.clone()), storage.keep(value.clone())
    storage.fetch(stored)
    storage.fetch(stored)
    assert storage.journeys == ["out", "out", "back"]
    assert torch.equal(storage.load(stored), value)
    assert storage.journeys == ["out", "out", "back"]
    storage.fetch(other)
    storage.drop_fetched()
    assert torch.equal(storage.load(other), value)
    assert storage.journeys == ["out", "out", "back", "back", "back"]


def test_beside_the_model_there_is_nothing_to_fetch():
    storage = Storage()
    stored = storage.keep(torch.randn(5, 3))
    storage.fetch(stored)
    assert storage.load(stored) is stored.parts[0]


def test_residuals_travel_back_once_per_skipped_step_and_behind_its_decision():
    run = session(threshold=1e9, warmup_steps=2, steps=6, storage=Elsewhere())
    storage = run.run.storage
    for step in range(2):
        run_pass(run, step, hidden(0.0), hidden(1.0), hidden(2.0 + step))
    assert storage.journeys == ["out", "out"]
    for step in range(2, 5):
        storage.journeys.clear()
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[step]))
        state = hidden(0.0)
        cache.enter(state)
        assert all(cache.probe(state.add_(1.0)))
        assert storage.journeys == [], "brought before anybody knew whether it is needed"
        cache.rebuild(state)
        assert storage.journeys == ["back", "back"]
    storage.journeys.clear()
    run_pass(run, 5, hidden(0.0), hidden(1.0), hidden(2.0))  # the last step computes: nothing to bring
    assert "back" not in storage.journeys


def test_nothing_is_brought_for_a_step_that_is_computed():
    run = session(threshold=1e-9, warmup_steps=2, steps=6, storage=Elsewhere())
    storage = run.run.storage
    for step in range(6):
        run_pass(run, step, hidden(0.0), hidden(1.0 + step), hidden(2.0))
    assert storage.journeys == ["out"] * 6


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 0.0045), (torch.bfloat16, 0.01), (torch.float16, 0.0045)]
)
def test_8_bits_lose_less_than_a_percent(dtype, tolerance):
    storage, value = Storage(bits=8), torch.randn(300, 512, generator=torch.Generator().manual_seed(1)).to(dtype)
    value[0], value[1] = 0, 1000 * value[1]
    stored = storage.keep(value.clone())
    loaded = storage.load(stored)
    largest = value.float().abs().amax(-1, keepdim=True)
    assert loaded.dtype == dtype
    assert ((loaded.float() - value.float()).abs() <= tolerance * largest).all()
    assert torch.equal(loaded[0], value[0])
    assert sum(p.numel() * p.element_size() for p in stored.parts) == 300 * (512 + dtype.itemsize)
    error = (loaded.float() - value.float()).norm() / value.float().norm()
    assert 0.001 < error < 0.01


def test_8_bits_in_a_run():
    exact, packed = outputs(session(threshold=0.3)), session(threshold=0.3, residual_bits=8)
    for (reuse, hM), (expected_reuse, expected_hM) in zip(outputs(packed), exact, strict=True):
        assert reuse == expected_reuse  # the probe is never packed
        torch.testing.assert_close(hM, expected_hM, atol=0.15, rtol=0.02)


def test_ordinary_memory_where_no_pinned_is_left(monkeypatch):
    from dicache_core.engine import storage as module

    empty = torch.empty

    def scarce(*args, pin_memory=False, **kwargs):
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", scarce)
    assert module._pinned_like(torch.zeros(3, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


class Full(Storage):
    def keep(self, value):
        raise OUT_OF_MEMORY("no memory left")


def test_without_memory_the_run_goes_on_without_a_cache():
    run = session()
    run_pass(run, 0, hidden(0.0), hidden(1.0), hidden(2.0))
    for sample in run.histories:
        sample.predictor.storage = Full()
    with pytest.raises(CacheOutOfMemoryError, match="no memory left"):
        run_pass(run, 1, hidden(0.0), hidden(1.0), hidden(2.0))
    run.abandon(Reason.OUT_OF_MEMORY)
    assert run.histories.held_bytes() == 0
    assert run.needs_no_stack
    for step in range(1, 10):
        cache = run.forward([SampleKey("cond", 0)], run.schedule.step_at(run.schedule.sigmas[step]))
        assert cache.decide() == (False,)
        assert cache.decisions[0].reason == "out of memory"
        cache.observe(hidden(1.0))
    assert run.histories.held_bytes() == 0


@pytest.mark.gpu
def test_there_and_back_on_a_gpu():
    for bits in (16, 8):
        storage, value = (
            Storage(in_main_memory=True, bits=bits),
            torch.randn(4096, 3072, device="cuda", dtype=torch.bfloat16),
        )
        expected = value.clone() if bits == 16 else Storage(bits=8).load(Storage(bits=8).keep(value.clone()))
        kept = storage.keep(value)
        del value
        torch.zeros(4096, 3072, device="cuda", dtype=torch.bfloat16)  # would take the memory over if it were free
        assert all(part.device.type == "cpu" and part.is_pinned() for part in kept.parts)
        for _ in range(3):
            loaded = storage.load(kept)
            assert loaded.is_cuda
            assert torch.equal(loaded, expected)
