"""Toy runs of the core: hidden states of two tokens and two channels, with answers worked out by hand."""

import torch

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.engine.storage import Storage
from dicache_core.methods.base import Indicator, MeasuredIndicator
from dicache_core.observation import Observation
from dicache_core.schedule import Schedule


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
