"""What one call of the model costs: the same call in the same run with the node, without it, and without the model."""

import gc
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import models
import torch
from loads import Sampler
from profiling import error_of_median, now, seconds, spread
from scripted_skips import METHODS, WARMUP, Skips

KEY = "dicache"  # of the node's wrappers in the host
KNOWN = 0.002  # of a call: the standard error with which a bound of a hundredth can be judged


@dataclass(frozen=True)
class Turn:
    """One call of a run with the node, timed in seconds, and the same call in other ways.

    Attributes:
        reasons: of the decisions on its samples.
        plain: without the node; of a call behind the warm-up that ran the model for some sample.
        host: without node and model, what the host does around it; of a call that was skipped for all samples.
    """

    reasons: frozenset[str]
    cached: float
    plain: float | None = None
    host: float | None = None


class Turns:
    """``PREDICT_NOISE`` wrapper outside of the node's: asks whatever the sampler asks in several ways, and times each.

    Between the ways nothing differs but the node: they see the same ``x`` in the same run, one right behind the other,
    and take turns in coming first.  All of them have room for their frames (``Sampler.run``).
    """

    def __init__(self, device: torch.device, skips: Skips, rows: int, runs: list) -> None:
        self.device = device
        self.skips = skips
        self.rows = rows
        self.runs = runs
        self.turns: list[Turn] = []

    def __call__(self, executor: Any, x: torch.Tensor, sigma: torch.Tensor, options: dict, seed: Any = None) -> Any:
        guider, passes, answer = executor.class_obj, self.runs[-1].passes, None
        step, before = len(self.turns), len(passes)

        def cached() -> None:
            nonlocal answer
            answer = executor(x, sigma, options, seed)

        def other() -> None:
            guider.predict_noise(x, sigma, idle(options) if skipped else without_node(options), seed)

        skipped = step >= WARMUP and all(self.skips(step, row) for row in range(self.rows))
        ways = [cached] if step < WARMUP else [cached, other] if step // 2 % 2 else [other, cached]
        times = {way: seconds(self.device, way) for way in ways}
        reasons = frozenset(d.reason for passed in passes[before:] for d in passed.decisions)
        beside = {"host" if skipped else "plain": times.get(other)}
        self.turns.append(Turn(reasons, times[cached], **beside))
        return answer


def without_node(options: Mapping[str, Any]) -> dict[str, Any]:
    """``model_options`` as they were before the node's run put its wrappers in."""
    inner = options["transformer_options"]
    wrappers = {
        kind: {key: found for key, found in of_kind.items() if key != KEY}
        for kind, of_kind in inner["wrappers"].items()
    }
    return {**options, "transformer_options": {**inner, "wrappers": wrappers}}


def idle(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same around a model that hands its input through."""
    plain = without_node(options)
    wrappers = plain["transformer_options"]["wrappers"]
    wrappers["apply_model"] = {"bench": [lambda _executor, x, *_args, **_more: x]}
    return plain


def turns_of(sampler: Sampler, method: str, rounds: int) -> tuple[list[Turn], Any]:
    """``rounds`` computed calls and as many skipped ones of one run, one behind the other, and the run's statistics.

    Raises ``RuntimeError`` where the run did not do what it was told to.
    """
    steps, load = WARMUP + 2 * rounds + 1, sampler.load

    def skips(step: int, row: int) -> bool:
        return (step - WARMUP) % 2 == 1 and (row % 2 == 1 or not load.apart)

    runs: list = []
    model = sampler.cached(METHODS[method](sampler.pack, sampler.architecture, skips), runs)
    turns = Turns(sampler.device, skips, load.batch, runs)
    sampler.wrap(model, "PREDICT_NOISE", turns)
    with quiet():
        sampler.run(model, steps)
    found = [turn.reasons for turn in turns.turns[WARMUP:-1]]
    skipped = frozenset({"error", "reused"}) if load.apart else frozenset({"reused"})
    # A third one does not audit enough under added noise.
    computed = {frozenset({"error"}), frozenset({"no audit yet"})}
    if not computed.issuperset(found[::2]) or found[1::2] != [skipped] * rounds:
        raise RuntimeError(f"{method} under {load.name} did not skip every other call: {found}")
    return turns.turns[WARMUP:-1], runs[-1]


def settled_turns(sampler: Sampler, method: str, rounds: int, most: int) -> tuple[list[Turn], Any]:
    """As ``turns_of``, in further runs until ``most`` rounds, or until what a computed call takes more is known."""
    turns, run = turns_of(sampler, method, rounds)
    while len(turns) < 2 * most and error_of_median(_added(turns)) > KNOWN:
        turns += turns_of(sampler, method, rounds)[0]
    return turns, run


def call_costs(sampler: Sampler, rounds: int, most: int = 0) -> dict:
    """Of each method, against the same call without the node: a computed call, a skipped one, and bytes held.

    ``most`` rounds are made where ``rounds`` leave open what a computed call costs.
    ``skipped_over_host`` is what a skipped call takes beyond the host's own part, against a whole call.  Where samples
    disagree ``skipped`` is a call that is skipped for half of them.
    """
    plain, host, methods = [], [], {}
    for method in METHODS:
        turns, run = settled_turns(sampler, method, rounds, most)
        computed, skipped = turns[::2], turns[1::2]
        alone = [turn.plain for turn in computed]  # right before the skipped call
        plain += alone
        rest = {"bytes_held": run.held_bytes, "bytes_expected": expected(sampler, method)}
        if not sampler.load.apart:
            host += _over([turn.host for turn in skipped], alone)
            beyond = [turn.cached - turn.host for turn in skipped]
            rest = {"skipped_over_host": spread(_over(beyond, alone)), **rest}
        methods[method] = {
            "computed_ms": _milliseconds([turn.cached for turn in computed]),
            "skipped_ms": _milliseconds([turn.cached for turn in skipped]),
            "computed_over_call": spread(_added(turns)),
            "rounds": len(computed),
            "skipped_over_call": spread(_over([turn.cached for turn in skipped], alone)),
            **rest,
        }
    found = {"load": sampler.load.name, "call_ms": _milliseconds(plain), "methods": methods}
    return found | ({"host_over_call": spread(host)} if host else {})


def _added(turns: Sequence[Turn]) -> list[float]:
    """Computed calls against the same without the node."""
    return [turn.cached / turn.plain for turn in turns[::2]]


def _over(times: Sequence[float], plain: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(times, plain, strict=True)]


def _milliseconds(times: Sequence[float], digits: int = 3) -> dict:
    return spread([1000 * s for s in times], digits)


def expected(sampler: Sampler, method: str) -> int:
    """Bytes between steps by the formula, which leaves out what is of a latent's size."""
    config = METHODS[method](sampler.pack, sampler.architecture, lambda *_: False)
    values = prod(sampler.shape.noise())
    memory, dtype = sampler.pack.dicache_core.engine.memory, models.dtype_of(sampler.device)
    return memory.CacheMemory(config, *sampler.size, dtype, sampler.streams, values).expected_bytes()


@contextmanager
def quiet() -> Iterator[None]:
    """Python collects no garbage in the middle of a call that is timed."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def shares(sampler: Sampler, calls: int = 5) -> dict[str, float]:
    """Parts of a plain call's time: "probe", the first block; "outside", all but the stack of blocks, host included.

    Of a U-Net the stack is its deep part, and what the paper's method runs on each call lies outside of it.
    """
    device, times = sampler.device, []

    def mark(*_: Any) -> None:
        times.append(now(device))

    def marked(executor: Any, *args: Any, **kwargs: Any) -> Any:
        mark()
        answer = executor(*args, **kwargs)
        mark()
        return answer

    first, last = _stack_of(sampler)
    handles = [first.register_forward_pre_hook(mark), first.register_forward_hook(mark)]
    handles.append(last.register_forward_hook(mark))
    model = sampler.patcher.clone()
    sampler.wrap(model, "PREDICT_NOISE", marked)
    with quiet():
        sampler.run(model, calls)
    for handle in handles:
        handle.remove()
    marks = list(zip(*[iter(times)] * 5, strict=True))
    unet = sampler.family.unet
    probe = [0.0 if unet else (probed - entered) / (end - begin) for begin, entered, probed, _, end in marks]
    outside = [1 - (left - entered) / (end - begin) for begin, entered, _, left, end in marks]
    return {"probe": statistics.median(probe), "outside": statistics.median(outside)}


def _stack_of(sampler: Sampler) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The first and the last module of the stack that a skipped call leaves out."""
    network = sampler.network
    if sampler.family.unet:
        return network.input_blocks[1][0], network.output_blocks[-2][-1]
    blocks = sampler.family.blocks(network)
    return blocks[0].module, blocks[-1].module


def decision_ms(sampler: Sampler, rounds: int) -> dict[str, dict]:
    """Milliseconds of a decision alone, per method.

    Of the paper's: copying probe tokens, two sums each for error and gamma, one transfer.  Of the forecast's: the plan,
    and one transfer of what the computed calls before have measured.
    """
    device, core, steps = sampler.device, sampler.pack.dicache_core, 2 * rounds + WARMUP
    state = torch.randn(1, *sampler.size, device=device, dtype=models.dtype_of(device))
    latent, sigmas = torch.randn(sampler.shape.noise(), device=device), (*(1 - i / steps for i in range(steps)), 0.0)

    def timed(config: Any) -> dict:
        session, times = core.CacheSession(config, core.schedule.Schedule(sigmas)), []
        for number, sigma in enumerate(sigmas[:-1]):
            passed = session.forward([core.SampleKey("one", 0)], session.schedule.step_at(sigma), latent)
            if session.forecasts_output:
                times.append(seconds(device, passed.decide))
                passed.observe(latent + number, latent)
            else:
                passed.enter(state)
                times.append(seconds(device, partial(passed.probe, state)))
                passed.complete(state + number)
        return _milliseconds(times[WARMUP:-1], 4)

    return {method: timed(make(sampler.pack, "", lambda step, _row: step % 2 == 1)) for method, make in METHODS.items()}
