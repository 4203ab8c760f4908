"""Toy runs of the core: hidden states of two tokens and two channels, with answers worked out by hand."""

import torch

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.engine.storage import Storage
from dicache_core.methods.base import Indicator, MeasuredIndicator
from dicache_core.observation import Observation
from dicache_core.schedule import Schedule
from dicache_core.timing import Stopwatch


def schedule(steps: int = 10) -> Schedule:
    return Schedule((*(1.0 - i / steps for i in range(steps)), 0.0))


def session(steps: int = 10, storage: Storage | None = None, **settings) -> CacheSession:
    settings = {"threshold": 0.5, "warmup_steps": 2, **settings}
    return CacheSession(CacheConfig(**settings), schedule(steps), storage=storage)


def hidden(*values: float, dtype=torch.float32) -> torch.Tensor:
    """(N, 2, 2), every entry of sample n being ``values[n]``."""
    return torch.stack([torch.full((2, 2), v, dtype=dtype) for v in values])


def run_pass(session, step, h0, hm, stack, stream="cond", in_place=False):
    """One pass of a toy model: h0 -> hm by the probe, hm -> hm + stack by the rest. Returns (reuse, hM)."""
    keys = [SampleKey(stream, row) for row in range(len(h0))]
    cache = session.forward(keys, session.schedule.step_at(session.schedule.sigmas[step]))
    state = h0.clone()
    cache.enter(state)
    if in_place:
        state.copy_(hm)
    else:
        state = hm.clone()
    reuse = cache.probe(state)
    if all(reuse):
        cache.rebuild(state)
    else:
        state += stack
        cache.complete(state)
    return reuse, state


def error_of(indicator: Indicator, obs: Observation) -> float:
    """What the rule says of a step, whether it has to measure for it or not."""
    if isinstance(indicator, MeasuredIndicator):
        return indicator.error(obs, [s.item() for s in indicator.measure(obs)])
    return indicator.planned_error(obs)


def run_parts(run, step, h, blocks, stream="cond", latents=None, group=None):
    """One pass through ``blocks``, functions of a hidden state, under a session that decides on parts of the stack.

    Returns (pass, hM, numbers of the blocks that ran).  Nothing that enters a segment is written to.
    """
    keys = [SampleKey(stream, row, group) for row in range(len(h))]
    cache, ran = run.forward(keys, run.schedule.step_at(run.schedule.sigmas[step]), latents), []
    watched = {one.segment.first: one for one in cache.passes if one.settle()}

    def through(numbers, state):
        for number in numbers:
            ran.append(number)
            state = blocks[number](state)
        return state

    number = 0
    while number < len(blocks):
        one = watched.get(number)
        if one is None:
            h, number = through([number], h), number + 1
            continue
        segment = one.segment
        one.enter(h)
        h = through(range(segment.first, segment.first + segment.probe), h)
        if segment.probe:
            one.probe(h)
        elif not one.decisions:
            one.decide()
        if one.all_reused:
            h = torch.empty_like(h)
            one.rebuild(h)
        else:
            h = through(range(segment.first + segment.probe, segment.last + 1), h).clone()
            one.complete(h)
        number = segment.last + 1
    run.close(cache, Stopwatch(torch.device("cpu")))
    return cache, h, ran
