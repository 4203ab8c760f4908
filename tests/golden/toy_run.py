"""A guided run of a tiny network under the core alone: no ComfyUI, no weights, the same numbers on every machine.

Four residual blocks work on ``(N, 16, 8)`` tokens; two samples, each with a positive and a negative row of one pass,
are sampled by Euler's method.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dicache_core import CacheConfig, CacheSession, RunStatistics, SampleKey
from dicache_core.engine.input_jump import InputDistanceBound
from dicache_core.image_error import GuidedPart
from dicache_core.methods.indicators import Stage, indicator_class
from dicache_core.methods.predictors import Space
from dicache_core.schedule import Schedule
from dicache_core.segments import StackShape
from dicache_core.timing import Stopwatch

SIZE, TOKENS, CHANNELS, WIDTH, BLOCKS = 2, 16, 4, 8, 4
PARTS = (2, 2)  # of the stack, for rules that decide on parts of it
SCALE = 3.0  # of guidance
SHIFT = 2.0  # of the schedule, as flow models have it


def sigmas(steps: int) -> tuple[float, ...]:
    """A shifted flow schedule, from 1 to 0."""
    even = [1 - i / steps for i in range(steps + 1)]
    return tuple(SHIFT * t / (1 + (SHIFT - 1) * t) for t in even)


class Network:
    """The toy model: tokens in, blocks, tokens out; every matrix is made of sines."""

    def __init__(self) -> None:
        self.enter = _matrix(CHANNELS, WIDTH, 1.0)
        self.leave = _matrix(WIDTH, CHANNELS, 2.0)
        self.blocks = [_matrix(WIDTH, WIDTH, 3.0 + n) for n in range(BLOCKS)]
        self.conds = torch.stack([_matrix(TOKENS, WIDTH, 11.0), _matrix(TOKENS, WIDTH, 12.0)])  # positive, negative

    def hidden(self, x: Tensor, sigma: float) -> Tensor:
        """``(N, C, T)`` -> the state that enters the blocks, ``(N, T, D)``: all positive rows first."""
        conds = self.conds.repeat_interleave(len(x) // 2, 0)
        return x.transpose(1, 2) @ self.enter + (1 - sigma) * conds

    def modulated(self, h: Tensor, sigma: float) -> Tensor:
        return h * (1.5 - sigma)

    def block(self, n: int, h: Tensor, sigma: float) -> Tensor:
        return h + 0.4 * torch.tanh(h @ self.blocks[n] * (1.2 - 0.5 * sigma))

    def output(self, h: Tensor) -> Tensor:
        """``(N, T, D)`` -> the direction ``dx/dsigma``, ``(N, C, T)``."""
        return (h @ self.leave).transpose(1, 2)


def sample(config: CacheConfig, steps: int) -> tuple[RunStatistics, Tensor]:
    """The statistics of one run and its last ``x``, ``(2, 4, 16)``."""
    rule = indicator_class(config.indicator)
    shape = StackShape(PARTS) if rule.in_parts or rule.records_blocks else None
    session = CacheSession(config, Schedule(sigmas(steps)), shape=shape)
    network, bound = Network(), InputDistanceBound()
    x = torch.stack([_matrix(CHANNELS, TOKENS, 20.0 + row) for row in range(SIZE)])
    keys = [SampleKey(stream, row, "image") for stream in ("positive", "negative") for row in range(SIZE)]
    session.roles.update({name: name for name in ("positive", "negative")})
    for sigma, after in zip(session.schedule.sigmas, session.schedule.sigmas[1:], strict=False):
        step, max_distance = session.schedule.step_at(sigma), bound.next(x)
        cond_rows = {SIZE + row: row for row in range(SIZE)} if session.wants_cond_outputs else None
        cache = session.forward(keys, step, torch.cat([x, x]), cond_rows, max_distance)
        out = _run(session, cache, network, torch.cat([x, x]), sigma)
        positive, negative = out.split(SIZE)
        guided = negative + SCALE * (positive - negative)
        if session.image_error_estimator is not None:
            weights = [SCALE] * SIZE + [1 - SCALE] * SIZE
            parts: list[GuidedPart] = cache.parts(torch.cat([x, x]) - sigma * out, weights)
            session.image_error_estimator.add(x - sigma * guided, parts)
        session.close(cache, Stopwatch(torch.device("cpu")))
        x = x + (after - sigma) * guided
    session.finalize()
    session.statistics.finished = True
    return session.statistics, x


def _run(session: CacheSession, cache, network: Network, x: Tensor, sigma: float) -> Tensor:
    if session.needs_no_stack:
        if all(cache.decide()):
            return cache.forecast()
        out = network.output(_blocks(network, network.hidden(x, sigma), sigma, 0))
        return cache.observe(out, x - sigma * out)
    h = network.hidden(x, sigma)
    if session.run.segments:
        return network.output(_in_parts(cache, network, h, sigma))
    cache.enter(h, network.modulated(h, sigma) if session.run.indicator.wants_modulated else None)
    depth = session.run.probe_depth
    if session.run.stage is Stage.PROBE:
        h = _blocks(network, h, sigma, 0, depth)
        cache.probe(h)
    else:
        cache.decide()
    if cache.all_reused:
        h = h.clone()
        cache.rebuild(h)
    else:
        before, h = h, _blocks(network, h, sigma, depth)
        cache.complete(h)
        if session.run.block_recorder is not None:
            _recorded(session, cache, network, before, sigma)
    out = network.output(h)
    return cache.observe(out, x - sigma * out) if session.run.space is Space.OUTPUT else out


def _recorded(session: CacheSession, cache, network: Network, h: Tensor, sigma: float) -> None:
    for n in range(BLOCKS):
        before, h = h, network.block(n, h, sigma)
        session.run.block_recorder.see(cache.keys, cache.step, n, before, h)


def _in_parts(cache, network: Network, h: Tensor, sigma: float) -> Tensor:
    watched, end = [one for one in cache.passes if one.settle()], 0
    for one in watched:
        segment = one.segment
        behind_probe = segment.first + segment.probe
        h = _blocks(network, h, sigma, end, segment.first)
        one.enter(h)
        h = _blocks(network, h, sigma, segment.first, behind_probe)
        if segment.probe:
            one.probe(h)
        if one.all_reused:
            h = h.clone()
            one.rebuild(h)
        else:
            h = _blocks(network, h, sigma, behind_probe, segment.last + 1).clone()
            one.complete(h)
        end = segment.last + 1
    return _blocks(network, h, sigma, end)


def _blocks(network: Network, h: Tensor, sigma: float, first: int, end: int = BLOCKS) -> Tensor:
    for n in range(first, end):
        h = network.block(n, h, sigma)
    return h


def _matrix(rows: int, columns: int, phase: float) -> Tensor:
    """``(rows, columns)`` in float32, spread like noise of variance 1 over the first factor."""
    index = torch.arange(rows * columns, dtype=torch.float64)
    return (torch.sin(index * 12.9898 + phase * 78.233) * 1.4 / rows**0.5).reshape(rows, columns).float()
