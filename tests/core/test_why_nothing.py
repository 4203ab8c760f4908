"""Every run that skips nothing says why: each known way to it on a toy, and many settings that leave little open."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from core.toys import schedule

from dicache_core import CacheConfig, CacheSession, Reason, RunStatistics, SampleKey, StepCode, resolve
from dicache_core.explain import NOTHING, Nothing, nothing_text, why_nothing
from dicache_core.policies import chosen_policy
from dicache_core.presets import published
from dicache_core.reasons import NoSkip
from dicache_core.schedule import CallSequence, Schedule
from dicache_core.timing import Stopwatch


def euler(steps: int, before: int = 0, after: int = 0) -> Schedule:
    """Even steps, a part of a longer schedule."""
    whole = schedule(before + steps + after).sigmas
    return Schedule(whole[before : before + steps + 1], steps_before=before, steps_after=after)


def noisy(steps: int, before: int = 0, after: int = 0) -> Schedule:
    """The same under a sampler that adds noise; each output weighs the same in the next call's ``x``."""
    plan = euler(steps, before, after)
    kept, weights = tuple(0.2**i for i in range(steps)), (0.3,) * (steps - 1) + (1.0,)
    calls = CallSequence(plan.sigmas[:-1], (0.0,) * (steps - 1) + (1.0,), kept, weights)
    return replace(plan, sequences=(calls,), predicts_denoised=True)


def little_noise(steps: int) -> Schedule:
    """A sampler that adds so little noise that no forecast is made."""
    plan = euler(steps)
    return replace(plan, sequences=(CallSequence(plan.sigmas[:-1], (), tuple(0.95**i for i in range(steps))),))


@dataclass
class Toy:
    """A model whose state grows from call to call, so that a measured error is 1, and whose output is ``output``.

    Attributes:
        stream: of each call, its name.
        begin: what happens to the session before the first call.
        reached: whether the forward comes to the blocks that decide.
        bypassed: why a call is not decided.
        distance: how far a call's input may be from the one before.
        again: calls at each noise level.
        growth: of the state and of the model's input.
    """

    config: CacheConfig
    plan: Schedule
    output: Callable[[int], float] = lambda _call: 1.0
    stream: Callable[[int], object] = lambda _call: "cond"
    begin: Callable[[CacheSession], None] = lambda _session: None
    reached: bool = True
    bypassed: Reason | None = None
    distance: float | None = None
    again: int = 1
    growth: float = 2.0

    def run(self) -> RunStatistics:
        session = CacheSession(self.config, self.plan)
        session.statistics.sampler_known = self.plan.sampler_known
        self.begin(session)
        for number in range(self.plan.steps * self.again):
            self._call(session, self.plan.sigmas[number // self.again], number)
        session.statistics.finished = True
        return session.statistics

    def _call(self, session: CacheSession, sigma: float, number: int) -> None:
        distance = None if self.distance is None else torch.tensor(self.distance)
        latent, step = torch.full((1, 1, 2, 2), self.growth**number), self.plan.step_at(sigma)
        cache = session.forward([SampleKey(self.stream(number), 0)], step, latent, max_distance=distance)
        if self.bypassed is not None:
            cache.bypass(self.bypassed)
        elif self.reached and session.needs_no_stack:
            out = torch.full((1, 1, 2, 2), self.output(number))
            _ = cache.forecast() if all(cache.decide()) else cache.observe(out, latent - sigma * out)
        elif self.reached:
            state = torch.full((1, 2, 2), self.growth**number)
            cache.enter(state)
            _ = cache.rebuild(state) if all(cache.probe(state)) else cache.complete(state + 1)
        session.close(cache, Stopwatch(torch.device("cpu")))


def preset(name: str, **typed) -> CacheConfig:
    return resolve("flux", name, **typed)


def policy(name: str, **numbers) -> CacheConfig:
    return resolve("flux", policy=chosen_policy(name, **numbers))


def other_cache(session: CacheSession) -> None:
    session.statistics.other_cache = "EasyCache"
    session.abandon(Reason.OTHER_CACHE)


def turned(call: int) -> float:
    """An output that turns round and grows: every forecast of it is off by more than its size."""
    return (-3.0) ** call


def unknown(steps: int) -> Schedule:
    return replace(euler(steps), sampler_known=False)


WAYS: list[tuple[NoSkip, Toy]] = [
    (NoSkip.THRESHOLD_ZERO, Toy(preset("balanced", threshold=0.0), euler(12))),
    (NoSkip.OTHER_CACHE, Toy(preset("balanced"), euler(12), begin=other_cache)),
    (NoSkip.IMAGE_CHANGED, Toy(published("flux"), euler(12), distance=0.0)),
    (NoSkip.OUT_OF_MEMORY, Toy(published("flux"), euler(12), begin=lambda s: s.abandon(Reason.OUT_OF_MEMORY))),
    (NoSkip.PREDICTS_IMAGE, Toy(preset("fast"), euler(12), begin=lambda s: s.abandon(Reason.PREDICTS_IMAGE))),
    (NoSkip.NEEDS_EVERY_CALL, Toy(preset("fast"), euler(12), begin=lambda s: s.abandon(Reason.NEEDS_EVERY_CALL))),
    (NoSkip.RISING_NOISE, Toy(preset("fast"), euler(12), begin=lambda s: s.abandon(Reason.RISING_NOISE))),
    (NoSkip.NO_BLOCK_SEEN, Toy(published("flux"), euler(12), reached=False)),
    (NoSkip.BLOCKS, Toy(published("flux"), euler(12), begin=lambda s: s.abandon(Reason.STACK_LEFT_EARLY))),
    (NoSkip.BLOCKS, Toy(published("flux"), euler(12), begin=lambda s: s.abandon(Reason.BLOCKS_REPEATED))),
    (NoSkip.SECOND_MODEL, Toy(published("flux"), euler(12), bypassed=Reason.SECOND_MODEL)),
    (NoSkip.NOT_A_NUMBER, Toy(published("flux"), euler(12), growth=float("nan"))),
    (NoSkip.NOT_A_NUMBER, Toy(preset("balanced"), euler(12), output=lambda _call: math.nan)),
    (NoSkip.NOT_A_NUMBER, Toy(preset("balanced"), noisy(30), output=lambda _call: math.nan)),
    (NoSkip.NEW_NOISE, Toy(preset("balanced"), little_noise(12))),
    (NoSkip.UNKNOWN_SAMPLER, Toy(preset("balanced"), unknown(12), output=turned)),
    (NoSkip.VETO, Toy(preset("balanced"), euler(12), output=turned)),
    (NoSkip.VETO, Toy(preset("balanced"), noisy(30), output=turned)),
    (NoSkip.ONE_STEP, Toy(preset("balanced"), euler(1, before=3, after=4))),
    (NoSkip.OWN_STEPS, Toy(preset("balanced"), euler(1), again=9)),
    (NoSkip.FEW_STEPS, Toy(resolve("no such model", "published"), euler(8))),
    (NoSkip.FEW_STEPS, Toy(preset("balanced"), euler(3))),
    (NoSkip.FEW_STEPS, Toy(preset("balanced"), noisy(4))),
    (NoSkip.TARGET, Toy(policy("forecast", target="1x"), euler(12))),
    (NoSkip.TARGET, Toy(policy("forecast", target="12"), euler(12, after=12))),
    (NoSkip.NOT_OPEN, Toy(published("flux"), euler(2, after=10))),
    (NoSkip.NOT_OPEN, Toy(preset("balanced", end_percent=0.05), euler(12))),
    (NoSkip.NOT_OPEN, Toy(preset("balanced", start_percent=0.95), noisy(12))),
    (NoSkip.NO_HISTORY, Toy(published("flux"), euler(12), stream=lambda call: call)),
    (NoSkip.NO_HISTORY, Toy(preset("balanced"), noisy(30), stream=lambda call: call // 2)),
    (NoSkip.FIRST_PART, Toy(preset("balanced", end_percent=0.1), noisy(30))),
    (NoSkip.FIRST_PART, Toy(preset("balanced", end_percent=0.25), noisy(30))),
    (NoSkip.FIRST_PART, Toy(preset("fidelity", end_percent=0.5), noisy(30))),
    (NoSkip.FIRST_PART, Toy(preset("fidelity"), noisy(12, after=13))),
    (NoSkip.INTERVAL, Toy(policy("output_reuse", interval=1), euler(12))),
    (NoSkip.MASK, Toy(policy("step_mask", mask="1,1,1"), euler(12))),
    (NoSkip.MASK, Toy(policy("step_mask", mask="0,1,1,1"), euler(4))),
    (NoSkip.ERROR, Toy(published("flux"), euler(12))),
    (NoSkip.FEW_OPEN, Toy(preset("fidelity", end_percent=0.1), euler(12))),
    (NoSkip.FEW_OPEN, Toy(preset("balanced"), euler(2, before=6, after=4))),
    (NoSkip.FEW_OPEN, Toy(published("flux"), euler(2, before=10, after=4))),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "toy"), WAYS, ids=[reason.value for reason, _toy in WAYS])
def test_each_way_to_skip_nothing_is_told_in_one_line(reason, toy):
    run = toy.run()
    assert set(run.cells) <= {StepCode.WARM_UP, StepCode.COMPUTED, StepCode.LAST}
    assert why_nothing(run).reason is reason
    said = nothing_text(run)
    assert said.startswith("Nothing was skipped: ")
    assert not any(part in said for part in ("\n", "{", "None", "nan"))


def test_no_reason_is_without_a_way_and_none_without_a_sentence():
    assert {reason for reason, _toy in WAYS} == set(NoSkip) == set(NOTHING)


@pytest.mark.parametrize(
    ("config", "plan", "found", "said"),
    [
        (preset("balanced", end_percent=0.1), noisy(30), Nothing(NoSkip.FIRST_PART, until=0.25), "steps after 25% of"),
        (preset("fidelity", end_percent=0.3), noisy(30), Nothing(NoSkip.FIRST_PART, until=0.5), "steps after 50% of"),
        (preset("fidelity", end_percent=0.1), euler(12), Nothing(NoSkip.FEW_OPEN, open_steps=1), "only 1 of 12 steps"),
    ],
)  # fmt: skip
def test_the_number_that_helps_is_named(config, plan, found, said):
    run = Toy(config, plan).run()
    assert why_nothing(run) == found
    assert said in nothing_text(run)


def test_with_the_range_a_bit_wider_than_the_first_part_something_is_skipped():
    assert why_nothing(Toy(preset("balanced", end_percent=0.4), noisy(30), growth=1.0).run()) is None


RANGES = [(0.0, 1.0), (0.0, 0.1), (0.0, 0.3), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (0.8, 1.0)]
PARTS = [(0, 0), (10, 0), (0, 10)]  # steps before and after


@pytest.mark.parametrize("name", ["fidelity", "balanced", "fast", "published"])
@pytest.mark.parametrize("make", [euler, noisy])
def test_whatever_leaves_nothing_to_skip_is_told(name, make):
    silent, told = [], 0
    for (start, end), steps, part in itertools.product(RANGES, (1, 2, 3, 4, 6, 9, 12, 30), PARTS):
        run = Toy(preset(name, start_percent=start, end_percent=end), make(steps, *part), growth=1.0).run()
        if set(run.cells) & {StepCode.REUSED, StepCode.MIXED}:
            assert why_nothing(run) is None
        else:
            told += 1
            silent += [] if why_nothing(run) else [(start, end, steps, part)]
    assert told > 20
    assert silent == []
