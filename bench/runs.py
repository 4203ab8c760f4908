"""Whole sampling runs side by side, in turns, each skipping the same steps: no cache, this one, and its peers."""

import statistics
import sys
from collections.abc import Callable
from typing import Any

import models
import torch
from forced import dicache, first_block
from gauges import memories, peak_bytes, spread
from steps import Bench

FIRST_REUSED = 2  # the host's caches need two computed steps before they can skip
NAMES = ("baseline", "dicache", "first_block", "easycache", "lazycache")


class Sampler:
    """Runs of one model with the host's KSampler, from the same noise."""

    def __init__(self, bench: Bench, patcher: Any, shape: models.Shape, steps: int) -> None:
        self.bench, self.patcher, self.shape, self.steps = bench, patcher, shape, steps
        self.reused = range(FIRST_REUSED, steps - max(2, steps // 5))
        self.conditioning = models.conditioning(shape)

    def variant(self, name: str) -> Any:
        """The model under one cache that skips ``self.reused``."""
        bench = self.bench
        if name == "baseline":
            return self.patcher
        if name in ("dicache", "first_block"):
            config = {"dicache": dicache, "first_block": first_block}[name](bench.core, self.reused)
            return bench.patchers.attach(self.patcher, config)
        nodes = bench.comfy.module("comfy_extras.nodes_easycache")
        node = {"easycache": nodes.EasyCacheNode, "lazycache": nodes.LazyCacheNode}[name]
        # They skip whenever they may, and they may from the third step to this share of the schedule.
        return node.execute(self.patcher, 1e9, 0.0, self._end_percent(), False).result[0]

    def run(self, model: Any, callback: Callable[[int], None] | None = None) -> float:
        """Seconds of the sampler, without what comes before it."""
        compare = sys.modules[f"{self.bench.patchers.__name__}.compare"]
        wrappers = self.bench.comfy.module("comfy.patcher_extension").WrappersMP
        timed, clock = model.clone(), compare.TimedSampler(callback or (lambda _step: None))
        timed.add_wrapper_with_key(wrappers.SAMPLER_SAMPLE, "bench", clock)
        latent = {"samples": torch.zeros(1, models.LATENT_CHANNELS, *self.shape.latent)}
        sampled = self.bench.comfy.nodes.common_ksampler(
            timed, 0, self.steps, 1.0, "euler", "simple", self.conditioning, self.conditioning, latent
        )
        if not torch.isfinite(sampled[0]["samples"]).all():
            raise RuntimeError("the run did not end in numbers, so it shows nothing")
        return clock.seconds

    def full_passes(self, model: Any) -> int:
        """How often the last block ran in a run."""
        network, count = self.patcher.model.diffusion_model, 0
        last = (network.blocks if hasattr(network, "blocks") else network.single_blocks)[-1]

        def look(*_: Any) -> None:
            nonlocal count
            count += 1

        handle = last.register_forward_hook(look)
        self.run(model)
        handle.remove()
        return count

    def held(self, model: Any) -> int:
        """Bytes that lie about behind the first skipped step and were not there before the run."""
        before, found = memories(), {}

        def look(step: int) -> None:
            if step == self.reused[0] + 1:
                found.update(memories())

        self.run(model, look)
        return sum(size for address, size in found.items() if before.get(address) != size)

    def _end_percent(self) -> float:
        sampling = self.patcher.get_model_object("model_sampling")
        samplers = self.bench.comfy.module("comfy.samplers")
        sigmas = samplers.calculate_sigmas(sampling, "simple", self.steps)
        between = float(sigmas[self.reused[-1]] + sigmas[self.reused[-1] + 1]) / 2
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if float(sampling.percent_to_sigma(middle)) > between else (low, middle)
        return low


def peers(bench: Bench, patcher: Any, shape: models.Shape, steps: int, rounds: int) -> dict:
    """Per cache: run time against the baseline's of the same round, skipped steps, bytes at the peak and held."""
    sampler = Sampler(bench, patcher, shape, steps)
    variants = {name: sampler.variant(name) for name in NAMES}
    skipped = {name: steps - sampler.full_passes(model) for name, model in variants.items()}
    expected = {name: 0 if name == "baseline" else len(sampler.reused) for name in NAMES}
    if skipped != expected:
        raise RuntimeError(f"not all skip the same steps: {skipped}")
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for turn in range(rounds):
        for name in NAMES[:: 1 if turn % 2 else -1]:
            times[name].append(sampler.run(variants[name]))
    plainly_held = sampler.held(variants["baseline"])
    return {
        name: {
            "run_ms": spread([1000 * s for s in times[name]], 1),
            "over_baseline": spread([a / b for a, b in zip(times[name], times["baseline"], strict=True)]),
            "skipped": skipped[name],
            "steps": steps,
            "peak_bytes": peak_bytes(bench.device, lambda model=model: sampler.run(model)),
            "bytes_held": max(0, sampler.held(model) - plainly_held),
        }
        for name, model in variants.items()
    }


def growth_with_steps(bench: Bench, patcher: Any, shape: models.Shape, steps: list[int]) -> list[dict]:
    """Run time with and without the cache for several numbers of steps, and what one step of each kind makes of it."""
    rows = []
    for count in steps:
        sampler = Sampler(bench, patcher, shape, count)
        plain, cached = sampler.variant("baseline"), sampler.variant("dicache")
        ratios = [sampler.run(cached) / sampler.run(plain) for _ in range(2)]
        row = {"steps": count, "reused": len(sampler.reused), "over_baseline": round(statistics.median(ratios), 4)}
        rows.append(row | {"bytes_held": sampler.held(cached) - sampler.held(plain)})
    return rows
