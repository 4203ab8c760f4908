"""Streams of one image are skipped together, whichever pass, order or thread they come in; answers by hand."""

import itertools
import math
import random
import threading

import pytest
import torch
from core.toys import hidden, schedule

from dicache_core import CacheConfig, CacheSession, SampleKey, needs_stack
from dicache_core.methods.base import PlannedIndicator
from dicache_core.policies import POLICIES, named_policy
from dicache_core.timing import Stopwatch

STEPS = 10
CPU = torch.device("cpu")
# How much the probe grows at each step.
CALM, WILD = 1.12, 1.3


def latent(step: int, speed=None) -> torch.Tensor:
    """(1, 2, 2): it doubles from step to step, or grows by ``speed[step]``."""
    size = math.prod(speed[1 : step + 1]) if speed else 2.0**step
    return torch.full((1, 2, 2), size)


class Image:
    """A run in which streams grow by a factor of their own, so that their errors differ; all see one latent."""

    def __init__(self, growth: dict, *, steps=STEPS, late=None, speed=None, groups=None, reduce=None, **settings):
        settings = {"threshold": 0.5, "warmup_steps": 2, **settings}
        self.session = CacheSession(CacheConfig(**settings), schedule(steps), reduce)
        self.growth, self.steps, self.speed = growth, steps, speed
        self.late, self.groups = late or {}, groups or {}
        self.told: dict[tuple[str, int], object] = {}

    def present(self, step: int) -> list[str]:
        return [stream for stream in self.growth if step >= self.late.get(stream, 0)]

    def run_pass(self, step: int, streams: list[str]) -> None:
        """One call of the model for these streams."""
        keys = [SampleKey(stream, 0, self.groups.get(stream, "image")) for stream in streams]
        x = latent(step, self.speed).repeat(len(keys), 1, 1, 1)
        plan = self.session.schedule
        cache = self.session.forward(keys, plan.step_at(plan.sigmas[step]), x)
        hm = hidden(*(self.growth[stream] ** step for stream in streams))
        if self.session.needs_no_stack:
            v = hm[:, None] if not all(cache.decide()) else None
            cache.forecast() if v is None else cache.observe(v, torch.ones_like(v))
        else:
            cache.enter(torch.ones_like(hm), modulated=hm)
            cache.probe(hm) if self.session.run.probe_depth else cache.decide()
            state = hm + 1
            cache.rebuild(state) if cache.all_reused else cache.complete(state)
            cache.observe(hm[:, None])
        self.session.close(cache, Stopwatch(CPU))
        for stream, decision in zip(streams, cache.decisions, strict=True):
            self.told[stream, step] = decision

    def run(self, arrange=lambda streams: [streams]) -> dict[str, list[bool]]:
        """Per stream whether each step was skipped; ``arrange`` splits the streams of a step into passes."""
        for step in range(self.steps):
            for streams in arrange(self.present(step)) if self.present(step) else ():
                self.run_pass(step, streams)
        return self.skipped()

    def skipped(self) -> dict[str, list[bool]]:
        ordered = sorted(self.told.items(), key=lambda item: item[0][1])
        return {name: [d.reuse for (stream, _), d in ordered if stream == name] for name in self.growth}


def one_by_one(streams):
    return [[stream] for stream in streams]


def backwards(streams):
    return [[stream] for stream in reversed(streams)]


def changing():
    dice = random.Random(0)

    def arrange(streams):
        shuffled = dice.sample(streams, len(streams))
        cut = dice.randrange(len(streams)) + 1
        return [part for part in (shuffled[:cut], shuffled[cut:]) if part]

    return arrange


def test_both_go_by_the_larger_error():
    # each step moves by 0.12 and 0.3: 0.3 is skipped, 0.6 is not; the calm one alone would skip four in a row
    found = Image({"positive": CALM, "negative": WILD}).run()
    assert found["positive"] == found["negative"]
    assert found["positive"] == [False, False, True, False, True, False, True, False, True, False]
    assert Image({"positive": CALM}).run()["positive"] == [
        False,
        False,
        True,
        True,
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_errors_are_expected_in_proportion_to_how_far_the_input_moves():
    # x grows by 1, then at step 4 by 2: twice the error, 0.6, is expected there; at step 5 half of what step 4 showed
    speed = [2, 2, 2, 2, 3, 2, 2, 2, 2, 2]
    image = Image({"positive": CALM, "negative": WILD}, speed=speed)
    image.run()
    errors = [image.told["positive", step].error for step in range(2, 6)]
    assert errors == pytest.approx([0.3, 0.3, 0.6, 0.15])


def test_the_first_open_call_is_decided_by_the_one_before():
    image = Image({"positive": CALM, "negative": WILD}, warmup_steps=3)
    image.run()
    assert image.told["negative", 3].reason == "reused"
    assert image.told["negative", 3].error == pytest.approx(0.3)


def test_what_nobody_knows_yet_is_computed():
    found = Image({"positive": CALM, "negative": WILD}, warmup_steps=1).run()
    assert found["positive"][:4] == [False, False, True, False]


LOOKING = {
    "dicache": {},
    "dicache_delta_minus": {},
    "trajectory_error": {},
    "trajectory_error_output": {},
    "fbcache": {},
    "teacache": {},
    "easycache": {},
    "sensitivity": {},
    "seacache": {},
    "seacache_latent": {},
    "worldcache": {},
}
OTHERS = {"forecast": {}, "fixed_interval": {}, "taylorseer_2": {}, "spectrum": {}, "spectrum_output": {}, "foca": {}}
SETTINGS = {
    **{name: {"threshold": 0.5} for name in LOOKING},
    "sensitivity": {"threshold": 2.0},
    "seacache": {"threshold": 2.5},
    "seacache_latent": {"threshold": 2.5},
    "worldcache": {"threshold": 0.3},
    **OTHERS,
    "dicache at 2x": {"target": "2x"},
    "fbcache at 3x": {"target": "3x"},
}


def configured(name: str, **settings) -> dict:
    policy = named_policy(name.split(" at ", maxsplit=1)[0]).applied_to(CacheConfig(threshold=0.5))
    fields = ("indicator", "predictor", "threshold", "interval", "target", "few_steps", "adaptive", "warmup_steps")
    found = {field: getattr(policy, field) for field in fields} | {"few_steps": 0} | SETTINGS[name]
    return found | {"warmup_steps": 3} | settings


@pytest.mark.parametrize("name", SETTINGS)
def test_one_decision_however_the_host_hands_them_over(name):
    """Three streams: in one pass, one by one, the other way round, and as memory allows."""
    growth, settings = {"positive": CALM, "negative": WILD, "weak": 1.17}, configured(name)
    found = [Image(growth, steps=16, **settings).run(a) for a in (lambda s: [s], one_by_one, backwards, changing())]
    for each in found:
        assert each == found[0]
        assert each["positive"] == each["negative"] == each["weak"]
    assert {True, False} == set(found[0]["positive"][3:-1])


@pytest.mark.parametrize("name", SETTINGS)
def test_a_single_stream_decides_as_one_without_a_group(name):
    """With what it shows at the call itself, to the last digit."""
    alone, grouped = (Image({"one": 1.2}, steps=16, groups={"one": g}, **configured(name)) for g in (None, "image"))
    alone.groups = {}
    runs = []
    for image, group in ((alone, None), (grouped, "image")):
        image.groups = {"one": group}
        image.run()
        runs.append([repr(decision) for decision in image.told.values()])
    assert runs[0] == runs[1]


def test_samples_and_parts_of_an_image_decide_alone():
    """Two context windows, say; rows of a batch are no streams of one image either."""
    growth = {"first": CALM, "second": WILD}
    apart = Image(growth, groups={"first": ("window", 1), "second": ("window", 2)}).run()
    assert apart == {name: Image({name: growth[name]}).run()[name] for name in growth}
    assert apart["first"] != apart["second"]


@pytest.mark.parametrize("arrange", [lambda s: [s], one_by_one, backwards])
@pytest.mark.parametrize("name", [*OTHERS, "dicache", "fbcache", "dicache at 2x"])
def test_a_stream_that_comes_late_is_computed_once_and_then_follows(name, arrange):
    growth, settings = {"positive": CALM, "negative": WILD, "late": 1.05}, configured(name)
    pair = Image({k: growth[k] for k in ("positive", "negative")}, steps=16, **settings).run()
    for begin in range(2, 9):
        found = Image(growth, steps=16, late={"late": begin}, **settings).run(arrange)
        assert found["positive"] == found["negative"] == pair["positive"]
        assert found["late"] == [False, *pair["positive"][begin + 1 :]]


def test_who_leaves_is_asked_no_longer():
    image = Image({"positive": CALM, "negative": WILD})
    image.present = lambda step: ["positive", "negative"] if step < 4 else ["positive"]
    found = image.run()["positive"]
    # step 4 still goes by both: 0.3; from 5 on by the positive's own 0.12: 0.42, then 0.54 is too much
    assert found == [False, False, True, False, True, True, False, True, True, False]


def test_a_run_limit_is_of_all():
    found = Image({"positive": CALM, "late": CALM}, late={"late": 3}, threshold=9.0, max_consecutive=2).run()
    assert found["positive"] == [False, False, True, True, False, True, True, False, True, False]
    assert found["late"] == [False, False, True, True, False, True, False]


def test_all_that_left_out_a_step_begin_again():
    image = Image({"positive": CALM, "negative": WILD})
    image.present = lambda step: [] if step == 4 else ["positive", "negative"]
    image.run()
    assert image.told["negative", 5].reason == image.told["positive", 5].reason == "no anchor yet"
    assert image.told["positive", 6].reuse == image.told["negative", 6].reuse


@pytest.mark.parametrize("name", ["dicache", "fbcache", "easycache", "forecast", "dicache at 2x"])
def test_threads_decide_as_one_pass_does(name):
    """The host's split of conds over devices: all at one call at once, in any order."""
    growth, settings = {"positive": CALM, "negative": WILD, "weak": 1.17}, configured(name)
    expected = Image(growth, steps=16, **settings).run()
    orders = list(itertools.permutations(growth))
    for seed in range(4):
        image, errors = Image(growth, steps=16, **settings), []
        for step in range(image.steps):
            barrier = threading.Barrier(len(growth))

            def work(stream, step=step, barrier=barrier, image=image, errors=errors):
                try:
                    barrier.wait()
                    image.run_pass(step, [stream])
                except Exception as error:
                    errors.append(error)

            order = orders[(seed + step) % len(orders)]
            threads = [threading.Thread(target=work, args=(stream,)) for stream in order]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        assert errors == []
        assert image.skipped() == expected


@pytest.mark.parametrize("name", ["dicache", "easycache", "forecast"])
def test_ranks_that_add_up_their_sums_decide_alike(name):
    growth, settings = {"positive": CALM, "negative": WILD}, configured(name)
    alone = Image(growth, steps=16, **settings).run()
    assert Image(growth, steps=16, reduce=lambda sums: 4 * sums, **settings).run() == alone


@pytest.mark.parametrize("streams", [1, 2])
def test_one_sync_per_pass_and_one_more_before_the_first_open_call(streams, monkeypatch):
    import dicache_core.engine.forward_pass as module

    fetched, original = [], module.to_host
    monkeypatch.setattr(module, "to_host", lambda sums, reduce: fetched.append(len(sums) > 0) or original(sums, reduce))
    Image(dict(list({"positive": CALM, "negative": WILD}.items())[:streams]), warmup_steps=3).run()
    assert fetched == [False, False, streams == 2] + [True] * 6 + [False]


def test_moving_windows_leave_nothing_behind():
    run = CacheSession(CacheConfig(threshold=0.5, warmup_steps=2), schedule(40))
    for step in range(39):
        keys = [SampleKey(name, 0, ("window", step)) for name in ("positive", "negative")]
        cache = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]), torch.ones(2, 1, 2, 2))
        cache.enter(hidden(1.0, 1.0))
        cache.probe(hidden(1.0, 1.0))
        cache.complete(hidden(1.0, 1.0))
    assert len(run.histories._groups) <= 2


def test_planned_rules_need_to_see_nothing():
    from dicache_core.methods.indicators import INDICATORS
    from dicache_core.observation import Observation
    from dicache_core.segments import Segment

    unseen = Observation(schedule().step_at(0.5), segment=Segment(0, 0))
    curves = dict(magnitude_ratios=(1.0,) * 3, residual_errors=((0.1,),) * 3, velocity_errors=((0.1,),) * 3)
    curves["block_changes"] = ((0.1,),) * 3
    for name, kind in INDICATORS.items():
        if issubclass(kind, PlannedIndicator):
            config = CacheConfig(indicator=name, mask="blocks 0" if kind.in_parts else "1", **curves)
            assert kind(config).planned_error(unseen) >= 0, name


def test_every_policy_says_whether_its_streams_are_decided_apart():
    apart = {name for name, policy in POLICIES.items() if _kind(policy).decides_alone}
    assert apart == {"fastercache"}, "these streams follow one another by a plan of their own"
    assert needs_stack(CacheConfig(indicator="fastercache", predictor="from_conditional"))


def _kind(policy):
    from dicache_core.methods.indicators import indicator_class

    return indicator_class(policy.indicator)
