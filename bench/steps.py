"""What one step costs: the same model called with the same input, plain, computed with the node, reused; in turns."""

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import models
import torch
from forced import dicache
from gauges import now, seconds, spread


@dataclass
class Bench:
    """The host, the pack in it and where to measure."""

    comfy: Any
    device: torch.device

    @property
    def core(self) -> Any:
        return self.comfy.pack.dicache_core

    @property
    def patchers(self) -> Any:
        return self.comfy.pack.model_patchers


class Calls:
    """One model with prepared arguments, called as the sampler calls it."""

    def __init__(
        self, bench: Bench, patcher: Any, architecture: str, shape: models.Shape, batch: int, rounds: int
    ) -> None:
        core, patchers = bench.core, bench.patchers
        self.core, self.device, self.batch = core, bench.device, batch
        self.model = patcher.model.diffusion_model
        self.family = patchers.family_of(self.model)
        self.arguments = models.arguments(architecture, shape, batch, bench.device)
        # Three steps per round: computed, reused, and one that moves the history on.
        steps = 2 * rounds + 4
        self.sigmas = [1 - i / steps for i in range(steps)] + [0.0]
        config = dicache(core, reused=range(3, steps, 2))
        self.session = core.CacheSession(config, core.Schedule(tuple(self.sigmas)))
        self.around = sys.modules[f"{patchers.__name__}.stack"].stack_around
        self.step = 0

    def plain(self) -> None:
        self._call()

    def cached(self) -> None:
        """The next step of the cached run."""
        core = self.core
        step = self.session.schedule.step_at(self.sigmas[self.step])
        stopwatch = core.Stopwatch(self.device)
        cache = self.session.forward([core.SampleKey("one", row) for row in range(self.batch)], step)
        with self.around(self.family, self.model, cache):
            self._call()
        self.session.close(cache, stopwatch)
        self.step += 1

    @property
    def reused(self) -> bool:
        """Whether the latest cached step was."""
        return self.session.statistics.passes[-1].reused == self.batch

    def _call(self) -> None:
        sigmas = torch.tensor(self.sigmas, device=self.device)
        options = dict(sigmas=sigmas[self.step : self.step + 1], sample_sigmas=sigmas, uuids=["one"])
        with torch.inference_mode():
            self.model(**self.arguments, transformer_options=options)


def step_costs(bench: Bench, patcher: Any, architecture: str, shape: models.Shape, rounds: int, batch: int = 1) -> dict:
    """Milliseconds of the three kinds of step, measured in turns, and their ratios round by round."""
    calls = Calls(bench, patcher, architecture, shape, batch, rounds)
    calls.plain()
    for _ in range(2):
        calls.cached()
    plain, computed, reused = [], [], []
    for turn in range(rounds):
        first, second = (calls.plain, calls.cached) if turn % 2 else (calls.cached, calls.plain)
        times = {work: seconds(bench.device, work) for work in (first, second)}
        plain.append(times[calls.plain])
        computed.append(times[calls.cached])
        if calls.reused:
            raise RuntimeError("a step that was to be computed was reused")
        reused.append(seconds(bench.device, calls.cached))
        if not calls.reused:
            raise RuntimeError("a step that was to be reused was computed")
    with shares(bench.device, calls.model, calls.family) as share:
        for _ in range(5):
            calls.plain()
    return {
        "step_ms": spread([1000 * s for s in plain]),
        "computed_ms": spread([1000 * s for s in computed]),
        "reused_ms": spread([1000 * s for s in reused]),
        "computed_over_step": spread([c / p for c, p in zip(computed, plain, strict=True)]),
        "reused_over_step": spread([r / p for r, p in zip(reused, plain, strict=True)]),
        "probe_share": round(share["probe"], 4),
        "outside_share": round(share["outside"], 4),
        "bytes_held": calls.session.held_bytes(),
        "bytes_expected": _expected(bench, calls, shape, batch),
    }


def _expected(bench: Bench, calls: Calls, shape: models.Shape, batch: int) -> int:
    core, dtype = bench.core, models.dtype_of(bench.device)
    return core.expected_bytes(calls.session.config, shape.tokens, shape.width, dtype, batch)


@contextmanager
def shares(device: torch.device, model: torch.nn.Module, family: Any) -> Iterator[dict[str, float]]:
    """Parts of a plain step's time while the context lasts: "probe", the first block; "outside", all but the blocks."""
    stack = [block.module for block in family.blocks(model)]
    times: list[float] = []
    found: dict[str, float] = {}

    def mark(*_: Any) -> None:
        times.append(now(device))

    handles = [model.register_forward_pre_hook(mark)]
    handles += [stack[0].register_forward_pre_hook(mark), stack[0].register_forward_hook(mark)]
    handles += [stack[-1].register_forward_hook(mark), model.register_forward_hook(mark)]
    yield found
    for handle in handles:
        handle.remove()
    steps = list(zip(*[iter(times)] * len(handles), strict=True))
    probe = [(probed - entered) / (end - begin) for begin, entered, probed, _, end in steps]
    outside = [1 - (left - entered) / (end - begin) for begin, entered, _, left, end in steps]
    found.update(probe=statistics.median(probe), outside=statistics.median(outside))


def decision_ms(bench: Bench, shape: models.Shape, rounds: int) -> dict:
    """Milliseconds of a decision alone: copying probe tokens, two sums each for error and gamma, one transfer."""
    core = bench.core
    session = core.CacheSession(dicache(core, reused=()), core.Schedule(tuple(range(rounds + 4, -1, -1))))
    state = torch.randn(1, shape.tokens, shape.width, device=bench.device, dtype=models.dtype_of(bench.device))
    times = []
    for step in range(rounds + 3):
        place = session.schedule.step_at(session.schedule.sigmas[step])
        passed = session.forward([core.SampleKey("one", 0)], place)
        passed.enter(state)
        times.append(seconds(bench.device, _probe(passed, state)))
        passed.complete(state + step)
    return spread([1000 * s for s in times[3:]])


def _probe(passed: Any, state: torch.Tensor) -> Callable[[], Any]:
    return lambda: passed.probe(state)
