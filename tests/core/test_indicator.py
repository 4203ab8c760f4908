"""When: the indicators and the gate, on numbers worked out by hand."""

import math

import pytest
import torch
from core.toys import error_of

from dicache_core import CacheConfig
from dicache_core.engine.gates import Gate
from dicache_core.methods.indicators import indicator_class
from dicache_core.observation import Observation
from dicache_core.reductions import abs_sum, l1_distance, probe_token_count, probe_token_index, ratio, to_host
from dicache_core.schedule import Schedule

STEP = Schedule((1.0, 0.5, 0.0)).step_at(1.0)


def seen(h0: list[float], hm: list[float], dtype=torch.float32) -> Observation:
    return Observation(STEP, h0=torch.tensor([h0], dtype=dtype), hm=torch.tensor([hm], dtype=dtype))


def errors(name: str, *steps: Observation) -> list[float]:
    indicator, found = indicator_class(name)(CacheConfig(threshold=1.0)), []
    for observation in steps:
        found.append(error_of(indicator, observation))
        indicator.follow(observation)
    return found


def test_delta_y_by_hand():
    # |2-1| + |1-3| = 3 over |1| + |3| = 4; then |2-2| + |4-1| = 3 over |2| + |1| = 3
    found = errors("delta_y", seen([0, 0], [1, 3]), seen([0, 0], [2, 1]), seen([9, 9], [2, 4]))
    assert found == [math.inf, 0.75, 1.0]


def test_delta_minus_by_hand():
    # probe: 3/4; entry: |3-1| + |1-1| = 2 over 2 = 1; |0.75 - 1| = 0.25
    found = errors("delta_minus", seen([1, 1], [1, 3]), seen([3, 1], [2, 1]))
    assert found == [math.inf, 0.25]


@pytest.mark.parametrize("name", ["delta_y", "delta_minus"])
@pytest.mark.parametrize("before", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_meaningless_denominators_compute(name, before):
    assert errors(name, seen(before, before), seen([1, 1], [1, 1]))[1] == math.inf


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_means_are_float32(dtype):
    # 70000 values of 1 overflow float16 (65504) and stick at 256 in bfloat16 when summed in the model's dtype
    ones = torch.ones(70, 1000, dtype=dtype)
    assert abs_sum(ones).item() == 70000
    assert l1_distance(ones * 3, ones).item() == 140000
    assert abs_sum(ones).dtype == torch.float32


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [(3, 4, 0.75), (0, 2, 0), (1, 0, math.inf), (math.nan, 1, math.inf), (1, math.inf, math.inf)],
)
def test_ratio(numerator, denominator, quotient):
    assert ratio(numerator, denominator) == quotient


def test_gate_by_hand():
    gate = Gate(threshold=0.5)
    assert [gate.add_and_check(e, STEP) for e in (0.2, 0.2, 0.2)] == [True, True, False]  # 0.2, 0.4, 0.6
    gate.on_computed(STEP)
    assert gate.accumulated == 0
    assert gate.add_and_check(0.49, STEP)
    assert not gate.add_and_check(0.01, STEP)  # 0.5 is not below 0.5


def test_gate_never_admits_the_unknown():
    for error in (math.inf, math.nan):
        gate = Gate(threshold=1e9)
        assert not gate.add_and_check(error, STEP)


def test_gate_of_single_errors():
    gate = Gate(threshold=0.5, accumulates=False)
    assert [gate.add_and_check(e, STEP) for e in (0.4, 0.4, 0.6, 0.4)] == [True, True, False, True]


def test_fetch_is_one_transfer_and_reduces_first():
    calls = []

    def reduce(sums):
        calls.append(sums.shape)
        return sums * 2  # two ranks that hold the same

    assert to_host([torch.tensor(1.0), torch.tensor(2.5)], reduce) == [2.0, 5.0]
    assert calls == [torch.Size([2])]
    assert to_host([]) == []


@pytest.mark.parametrize(
    ("tokens", "wanted", "count"), [(256, 0, 256), (1024, 0, 1024), (4096, 0, 48), (75600, 0, 900)]
)
def test_probe_tokens_by_size(tokens, wanted, count):
    assert probe_token_count(tokens, wanted) == count


@pytest.mark.parametrize("row", [16, 32, 48, 64, 80, 128])
def test_probe_tokens_spread_over_every_column(row):
    """A stride that divides the row length would look at one column of the picture only."""
    tokens = row * 64
    index = probe_token_index(tokens, probe_token_count(tokens) if tokens > 1024 else 48, torch.device("cpu"))
    quarters = torch.bincount((index % row) * 4 // row, minlength=4)
    assert quarters.min() >= 48 // 8
    assert torch.equal(index, index.unique())
