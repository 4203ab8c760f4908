"""The search of plans, on outputs whose answers are worked out by hand, or by a run of the engine."""

import itertools
import math
import time

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.schedule import Schedule
from dicache_core.tuning.plan_search import (
    EXPONENTS,
    Growth,
    RealRun,
    SimulatedRuns,
    climbed,
    products,
    search_plans,
    shortest_path,
)

TEN = schedule()


def runs_of(*images: list[float], along: Schedule = TEN) -> SimulatedRuns:
    """Images of a single value, one output for each call."""
    outputs = [torch.tensor(values)[:, None] for values in zip(*images, strict=True)]
    return SimulatedRuns(products(outputs), along, along.sequences[0])


def growth(exponent: float = 0.0, *hardness: float) -> Growth:
    return Growth(exponent, torch.tensor(hardness or (1.0,), dtype=torch.float64))


def random_outputs(calls: int, images: int, values: int = 5) -> list[torch.Tensor]:
    steps = torch.randn(calls, images, values, generator=torch.Generator().manual_seed(3))
    return list(steps.cumsum(0).half())


def test_products_by_hand():
    found = products([torch.tensor([[1.0, 2.0]]).half(), torch.tensor([[3.0, 4.0]]).half()])
    assert found.tolist() == [[[2.5, 5.5], [5.5, 12.5]]]


def test_a_cost_by_hand():
    """Sigmas 1, 0.75, 0.5, 0.25. Calls 1 and 2 get the output 0 of call 0; call 2 would have put out 1, as call 3 does.

    At call 3 ``x`` is off by 0.25. Then both are put on the line from call 0 to call 3, where only the way between
    0 and 1 that each lies at is missing.
    """
    four = schedule(4)
    place = [four.log_snr(sigma) for sigma in four.sigmas[:4]]
    on_line = [(place[i] - place[0]) / (place[3] - place[0]) for i in (1, 2)]
    at_the_end = 0.25 * (on_line[0] - 0) + 0.25 * (on_line[1] - 1)
    for exponent in (0.0, 0.5, 1.0):
        found = runs_of([0.0, 0.0, 1.0, 1.0], along=four).costs([(0, 3)], exponent).item()
        assert found == pytest.approx(0.25**2 / (0.755) ** (2 * exponent) + at_the_end**2)


def by_the_engine(outputs: list[float], computed: tuple[int, ...]) -> float:
    """The cost without growth of an Euler run whose model answers every ``x`` alike."""
    mask = "".join("01"[call in computed] for call in range(len(outputs)))
    config = CacheConfig(threshold=1.0, indicator="mask", mask=mask, predictor="corrected_line", warmup_steps=0)
    along = Schedule(TEN.sigmas, predicts_denoised=True)  # of which no output is changed for a correction of x
    run, off, cost = CacheSession(config, along), 0.0, 0.0
    for sigma, weight, output in zip(along.sigmas, along.sequences[0].weights, outputs, strict=False):
        cache = run.forward([SampleKey("one", 0)], along.step_at(sigma), torch.zeros(1, 1, 1, 1))
        if all(cache.decide()):
            value = cache.forecast()
        else:
            cost += off**2
            value = cache.observe(torch.full((1, 1, 1, 1), output))
        off += weight * (value.item() - output)
    return cost + off**2


@pytest.mark.parametrize(
    "computed", [(0, 5, 9), (0, 1, 2, 9), (0, 3, 4, 8, 9), (0, 2, 4, 6, 9), tuple(range(10))], ids=str
)
def test_a_simulated_run_is_what_the_engine_does(computed):
    outputs = [row[0, 0].item() for row in random_outputs(10, 1, 1)]
    found = runs_of(outputs).costs([computed], 0.0).item()
    assert found == pytest.approx(by_the_engine(outputs, computed), rel=1e-4, abs=1e-9)


def test_plans_and_images_side_by_side_are_what_they_are_alone():
    outputs = random_outputs(10, 3)
    along = SimulatedRuns(products(outputs), TEN, TEN.sequences[0])
    plans = [(0, 2, 5, 9), (0, 1, 2, 9), (0, 4, 8, 9)]
    together = along.costs(plans, 0.75)
    for image in range(3):
        alone = SimulatedRuns(products([row[image : image + 1] for row in outputs]), TEN, TEN.sequences[0])
        for number, plan in enumerate(plans):
            assert together[number, image].item() == pytest.approx(alone.costs([plan], 0.75).item())
    pooled = along.pooled(plans, growth(0.75, 1.0, 10.0, 0.0))
    assert pooled.tolist() == pytest.approx(((together[:, 0] + 10 * together[:, 1]) / 3).tolist())


def test_the_shortest_path_is_the_best_of_all():
    """Against every choice of calls, each run of skipped ones taken alone on the line through the two before it."""
    along = SimulatedRuns(products(random_outputs(10, 2)), TEN, TEN.sequences[0])
    how = growth(0.75, 1.0, 2.0)
    cost = along.triples(how)
    for count in (2, 3, 4, 6):
        plans = [(0, *inner, 9) for inner in itertools.combinations(range(1, 9), count - 2)]
        best = min(plans, key=lambda plan: of_path(cost, plan))
        assert shortest_path(along, count, how) == best


def of_path(cost: torch.Tensor, plan: tuple[int, ...]) -> float:
    triples = zip(plan, plan[1:], plan[2:], strict=False)
    return (cost[0, 0, plan[1]] + sum(cost[a, b, c] for a, b, c in triples)).item()


def test_a_run_of_skipped_calls_costs_what_it_costs_in_a_simulated_run():
    """Between two computed calls that follow each other nothing is displaced, so the one run of skipped ones is all."""
    outputs = [0.0, 1.0, 2.5, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    along = runs_of(outputs)
    place, weight = along.log_snr.tolist(), 0.1
    line = [outputs[1] + (place[i] - place[1]) / (place[1] - place[0]) for i in (2, 3)]
    off = weight * (line[0] - 2.5 + line[1] - 4.0)
    assert along.triples(growth(1.0))[0, 1, 4].item() == pytest.approx(off**2 / 0.405**2)
    assert along.triples(growth(1.0))[1, 2, 3].item() == 0.0


def test_calls_are_computed_where_outputs_bend():
    """On a line in log-SNR but for one bend: whoever computes the two calls behind it foresees all others."""
    place = [TEN.log_snr(sigma) for sigma in TEN.sigmas[:10]]
    outputs = [2 * place[min(i, 5)] - 3 * max(0.0, place[i] - place[5]) for i in range(10)]
    along, how = runs_of(outputs), growth(0.8)
    assert {5, 6} <= set(shortest_path(along, 5, how))
    best, cost = climbed(along, (0, 1, 2, 8, 9), how)
    assert {5, 6} <= set(best)
    assert cost < along.pooled([(0, 1, 2, 8, 9)], how).item()


def test_climbing_ends_where_no_call_can_be_moved_to_advantage():
    along, how = SimulatedRuns(products(random_outputs(10, 2)), TEN, TEN.sequences[0]), growth(0.5, 1.0, 1.0)
    best, cost = climbed(along, (0, 2, 5, 9), how)
    near = [
        tuple(sorted({*best} - {call} | {to}))
        for call in best[1:-1]
        for to in range(call - 3, call + 4)
        if 0 < to < 9 and to not in best
    ]
    assert cost == pytest.approx(along.pooled([best], how).item())
    assert min(along.pooled(near, how).tolist()) >= cost


def test_what_is_found_is_expected_to_be_closer():
    along, how = SimulatedRuns(products(random_outputs(10, 2)), TEN, TEN.sequences[0]), growth(0.5, 1.0, 1.0)
    known = (0, 2, 3, 5, 9)
    found = search_plans(along, known, [how, how])
    errors = along.pooled([known, *found], how).tolist()
    assert len(found) == 1, "each plan once"
    assert errors[1] < errors[0]
    assert search_plans(along, found[0], [how]) == [], "nothing better than what is known"
    assert search_plans(along, (0, 9), [how]) == [], "there is no other plan of two calls"
    assert search_plans(along, tuple(range(10)), [how]) == []


def test_each_growth_has_its_plan():
    along = SimulatedRuns(products(random_outputs(20, 2)), schedule(20), schedule(20).sequences[0])
    growths = [growth(exponent, 1.0, 1.0) for exponent in (0.0, 1.2)]
    known = (0, 3, 6, 9, 12, 15, 19)
    assert search_plans(along, known, growths) == [
        plan for how in growths for plan in search_plans(along, known, [how])
    ]


@pytest.mark.parametrize("lead", [1, 2, 3, 4])
def test_what_is_computed_in_a_row_at_the_start_stays(lead):
    """And behind that the shortest path is the best of all."""
    along, how = SimulatedRuns(products(random_outputs(10, 2)), TEN, TEN.sequences[0]), growth(0.5, 1.0, 1.0)
    cost = along.triples(how)
    head = tuple(range(lead))
    plans = [(*head, *inner, 9) for inner in itertools.combinations(range(lead, 9), 5 - lead)]
    assert shortest_path(along, 6, how, lead) == min(plans, key=lambda plan: of_path(cost, plan))
    for start in plans:
        assert climbed(along, start, how, lead)[0][:lead] == head
    known = (*head, *range(lead + 1, 7 - 1), 9)
    assert all(plan[:lead] == head and len(plan) == len(known) for plan in search_plans(along, known, [how]))


# -- growth ----------------------------------------------------------------------------------------------------------


def test_growth_is_what_real_runs_show():
    """Errors that grew by an exponent, on one image three times as much as on the other."""
    along = SimulatedRuns(products(random_outputs(10, 2)), TEN, TEN.sequences[0])
    plans = [(0, 1, 2, 9), (0, 2, 5, 9), (0, 5, 7, 9), (0, 1, 2, 5, 9)]
    for number, exponent in enumerate(EXPONENTS):
        trials = [
            RealRun(image, plan, hard * along.costs([plan], exponent)[0, image].item())
            for plan in plans
            for image, hard in enumerate((2.0, 6.0))
        ]
        found = Growth.measured(along, trials)
        assert [growth.exponent for growth in found] == list(EXPONENTS)
        assert found[number].hardness.tolist() == pytest.approx([2.0, 6.0])


def test_an_image_without_a_real_run_is_as_hard_as_the_others():
    along = SimulatedRuns(products(random_outputs(10, 2)), TEN, TEN.sequences[0])
    nothing, *_ = Growth.measured(along, [RealRun(0, tuple(range(10)), 0.0)])
    assert nothing.hardness.tolist() == [1.0, 1.0]
    plan = (0, 2, 5, 9)
    one, *_ = Growth.measured(along, [RealRun(0, plan, 7 * along.costs([plan], EXPONENTS[0])[0, 0].item())])
    assert one.hardness.tolist() == pytest.approx([7.0, 7.0])


def test_fifty_steps_are_searched_in_seconds():
    fifty = schedule(50)
    along = SimulatedRuns(products(random_outputs(50, 8, 400)), fifty, fifty.sequences[0])
    begin = time.perf_counter()
    known = tuple(round(i * 49 / 16) for i in range(17))
    trials = [RealRun(image, known, 1.0) for image in range(8)]
    found = search_plans(along, known, Growth.measured(along, trials))
    assert time.perf_counter() - begin < 10
    assert all(len(plan) == 17 and math.isfinite(along.costs([plan], 0.75).sum().item()) for plan in found)
