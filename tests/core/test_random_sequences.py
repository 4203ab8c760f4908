"""Arbitrary orders of passes against one session: whatever a host does, no history leaks, nothing crashes, all repeats.

The toy model marks its work.  Every history that may legitimately exist has a channel of its own, in which the model
writes 1 and everybody else 0; all predictors weigh their anchors with sums of 1, so an estimate from a stream's own
history shows about 1 in its own channel and exactly 0 in all others, in every dtype.  Which histories are legitimate is
worked out here once more, without looking at the session.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.engine.memory import CacheMemory
from dicache_core.methods.indicators import INDICATORS
from dicache_core.methods.predictors import PREDICTORS, Space, predictor_class
from dicache_core.schedule import Schedule

STEPS, PASSES = 8, 24
CHANNELS = 2 + 2 * PASSES  # two that carry the probe's movement, then one per history that a pass of two rows may begin
SIGMAS = (*(1.0 - i / STEPS for i in range(STEPS)), 0.0)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LATENTS_KEPT = 6  # per sample, by the rules that look at the model's input and output


@dataclass(frozen=True)
class Pass:
    """One forward pass of a host.

    Attributes:
        move: how sigma goes on: "next" step, the "same" again, the "middle" of the step, or to any step.
        probes: per row, the size of the probe's state.
        pixels: length of the latent, which need not follow the number of tokens (odd sizes are padded).
    """

    stream: str
    move: str | int
    probes: tuple[float, ...]
    tokens: int
    pixels: int
    dtype: str


PROBE = st.one_of(st.sampled_from([1.0, 1.0, 1.1, 1.3]), st.floats(0.0, 50.0), st.sampled_from([math.nan, math.inf]))
MOVE = st.one_of(st.sampled_from(["next"] * 6 + ["same", "middle", "middle"]), st.integers(0, STEPS - 1))
ONE_PASS = st.builds(
    Pass,
    stream=st.sampled_from(["cond", "cond", "uncond", "window"]),
    move=MOVE,
    probes=st.lists(PROBE, min_size=1, max_size=2).map(tuple),
    tokens=st.sampled_from([3, 3, 3, 5]),
    pixels=st.sampled_from([4, 4, 4, 6]),
    dtype=st.sampled_from(["float32", "float32", "float32", "bfloat16"]),
)
HISTORY = st.lists(ONE_PASS, min_size=3, max_size=PASSES)


def possible(config: CacheConfig) -> bool:
    """Whether the two rules go together: the probe of ``trajectory_error`` does not do for every predictor."""
    predictor = predictor_class(config.predictor)
    fits = not predictor.wants_latent and predictor.residuals + predictor.probes <= 4
    return config.indicator != "trajectory_error" or fits


CONFIG = st.builds(
    CacheConfig,
    threshold=st.sampled_from([1e-30, 0.1, 0.5, 3.0, 1e9]),
    interval=st.sampled_from([1, 2, 3, 1000]),
    warmup_steps=st.integers(0, 2),
    gamma_max=st.sampled_from([1.0, 1.5, 2.0]),
    indicator=st.sampled_from(sorted(name for name, rule in INDICATORS.items() if not rule.in_parts)),
    predictor=st.sampled_from(sorted(PREDICTORS)),
    max_consecutive=st.integers(0, 3),
    cache_device=st.sampled_from(["gpu", "cpu"]),
    residual_bits=st.sampled_from([16, 16, 8]),
    probe_tokens=st.sampled_from([0, 2]),
    target=st.sampled_from(["", "", "2x", "3"]),
    mask=st.just("1,0,1,0,0,1,0,0"),
    magnitude_ratios=st.just((0.0, *[1.02] * 6, 0.0)),
    residual_errors=st.just(((0.1, 0.2),) * 8),
    velocity_errors=st.just(((0.1, 0.2),) * 8),
).filter(possible)
BOUNDED = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@dataclass
class Lineage:
    """What one key's history may rest on: where it was last, how its tensors looked, and its channel."""

    index: int
    sigma: float
    layout: tuple
    channel: int


class Host:
    """Runs passes through one session, checks every estimate, and notes what came out."""

    def __init__(self, config: CacheConfig) -> None:
        self.session = CacheSession(config, Schedule(SIGMAS))
        self.lineages: dict[SampleKey, Lineage] = {}
        self.channels = 2
        self.sigma = SIGMAS[0]
        self.seen: list[tuple] = []  # (stream, decisions, output) of every pass

    def run(self, p: Pass) -> None:
        self.sigma = _moved(self.sigma, p.move)
        step = self.session.schedule.step_at(self.sigma)
        keys = [SampleKey(p.stream, row) for row in range(len(p.probes))]
        layout = (0 if self.session.needs_no_stack else p.tokens, p.pixels, p.dtype)  # no stack, no tokens
        channels = [self._channel(key, step, layout) for key in keys]
        x = _state(p.pixels, p.dtype, [0.5 + step.step_index] * len(keys)).transpose(1, 2)  # (N, C, pixels)
        cache = self.session.forward(keys, step, x)
        if self.session.needs_no_stack:
            out = cache.forecast() if all(cache.decide()) else cache.observe(self._marked(x, cache, channels, -2))
        else:
            out = self._through_the_stack(p, cache, channels, x)
        assert out.dtype == DTYPES[p.dtype]
        assert out.shape == self._shape(p)
        for row, channel in enumerate(channels):
            self._check(out[row], channel, cache.decisions[row].reuse)
        for key, channel in zip(keys, channels, strict=True):
            self.lineages[key] = Lineage(step.step_index, step.sigma, layout, channel)
        self._check_memory(step)
        self.seen.append((p.stream, tuple(cache.decisions), self._without_marks(out)))

    def _through_the_stack(self, p: Pass, cache, channels: list[int], x: torch.Tensor) -> torch.Tensor:
        h0 = _state(p.tokens, p.dtype, [1.0] * len(p.probes))
        hm = _state(p.tokens, p.dtype, p.probes)
        cache.enter(h0, modulated=hm)
        if self.session.run.probe_depth:
            cache.probe(hm)
        else:
            cache.decide()
        h0.fill_(math.nan)  # blocks change their input in place
        if self.session.run.space is Space.OUTPUT:
            return cache.observe(self._marked(x, cache, channels, -2))
        out = self._marked(_state(p.tokens, p.dtype, [1.0] * len(p.probes)), cache, channels, -1)
        cache.rebuild(out) if cache.all_reused else cache.complete(out)
        return out

    def _marked(self, state: torch.Tensor, cache, channels: list[int], axis: int) -> torch.Tensor:
        """The model's result: every computed row bears its mark, rows of reused samples are worthless."""
        state = state.clone()
        for row, (channel, decision) in enumerate(zip(channels, cache.decisions, strict=True)):
            state[row].select(axis, channel).fill_(1.0)
            if decision.reuse:
                state[row] = math.nan
        return state

    def _channel(self, key: SampleKey, step, layout: tuple) -> int:
        """The mark of the history that this pass may use: a new one where nothing may be carried over."""
        last = self.lineages.get(key)
        follows = last is not None and 0 <= step.step_index - last.index <= 1 and step.sigma <= last.sigma * 1.001
        if follows and last.layout == layout:
            return last.channel
        self.channels += 1
        return self.channels - 1

    def _check(self, out: torch.Tensor, channel: int, reused: bool) -> None:
        axis = -2 if self.session.run.space is Space.OUTPUT else -1
        assert out.isfinite().all()
        marks = out.movedim(axis, -1)[..., 2:]
        own = marks[..., channel - 2]
        assert (own - 1).abs().max() < (0.3 if reused else 1e-6), "not what the model would have marked"
        assert marks.count_nonzero() == own.numel(), "an estimate from a history that is not the stream's own"

    def _without_marks(self, out: torch.Tensor) -> torch.Tensor:
        """``out`` with its mark moved to one place, whichever channel it had."""
        out = out.movedim(-2 if self.session.run.space is Space.OUTPUT else -1, -1)
        return torch.cat([out[..., :2], out[..., 2:].sum(-1, keepdim=True)], -1)

    def _shape(self, p: Pass) -> tuple[int, ...]:
        n = len(p.probes)
        return (n, CHANNELS, p.pixels) if self.session.run.space is Space.OUTPUT else (n, p.tokens, CHANNELS)

    def _check_memory(self, step) -> None:
        """The formula, for every sample that was there at this step or the one before, at the largest layout."""
        config, live = self.session.config, [x for x in self.lineages.values() if step.step_index - x.index <= 1]
        most = max(CacheMemory(config, x.layout[0], CHANNELS, DTYPES[x.layout[2]]).expected_bytes() for x in live)
        most += LATENTS_KEPT * CHANNELS * 6 * 4
        assert self.session.histories.held_bytes() <= len(live) * most


def _moved(sigma: float, move: str | int) -> float:
    step = Schedule(SIGMAS).step_at(sigma)
    if isinstance(move, int):
        return SIGMAS[move]
    if move == "next":
        return SIGMAS[min(step.step_index + 1, STEPS - 1)]
    return (step.sigmas[step.step_index] + step.next_sigma) / 2 if move == "middle" else sigma


def _state(tokens: int, dtype: str, sizes) -> torch.Tensor:
    """(N, tokens, CHANNELS): a ramp of the row's size in the first two channels."""
    state = torch.zeros(len(sizes), tokens, CHANNELS)
    for row, size in enumerate(sizes):
        state[row, :, :2] = size * torch.linspace(0.5, 1.5, tokens)[:, None]
    return state.to(DTYPES[dtype])


def outcome(config: CacheConfig, passes: list[Pass]) -> list[tuple]:
    host = Host(config)
    for p in passes:
        host.run(p)
    return host.seen


def assert_same(ours: list[tuple], theirs: list[tuple]) -> None:
    for (stream, decisions, out), (stream_, decisions_, out_) in zip(ours, theirs, strict=True):
        assert (stream, repr(decisions)) == (stream_, repr(decisions_))  # as text, because nan is not nan
        assert torch.equal(out, out_)


@BOUNDED
@given(CONFIG, HISTORY)
def test_only_the_streams_own_history_and_always_the_same(config, passes):
    first = outcome(config, passes)
    assert_same(outcome(config, passes), first)


@BOUNDED
@given(CONFIG, HISTORY, st.lists(ONE_PASS, min_size=PASSES, max_size=PASSES))
def test_another_stream_in_between_changes_nothing(config, passes, others):
    """As hosts do it: the other stream's passes come at the same sigma."""
    passes = passes[: PASSES // 2]
    alone = outcome(config, [_of("cond", p) for p in passes])
    mixed = [q for p, o in zip(passes, others, strict=False) for q in (_of("cond", p), _of("other", o, move="same"))]
    assert_same([seen for seen in outcome(config, mixed) if seen[0] == "cond"], alone)


def _of(stream: str, p: Pass, move: str | int | None = None) -> Pass:
    return Pass(stream, p.move if move is None else move, p.probes, p.tokens, p.pixels, p.dtype)


@pytest.mark.parametrize("predictor", sorted(PREDICTORS))
def test_the_marks_show_a_stolen_history(predictor):
    """The check itself works: a session that mixes up its streams is caught."""
    config = CacheConfig(interval=1000, warmup_steps=1, predictor=predictor, indicator="fixed")
    host = Host(config)
    host.run(Pass("cond", 0, (1.0,), 3, 4, "float32"))
    host.run(Pass("uncond", "same", (1.0,), 3, 4, "float32"))
    histories = host.session.histories._by_key
    cond, uncond = histories
    histories[cond], histories[uncond] = histories[uncond], histories[cond]
    with pytest.raises(AssertionError, match=r"marked|stream's own"):
        host.run(Pass("cond", "next", (1.0,), 3, 4, "float32"))
    assert predictor_class(predictor).space is host.session.run.space
