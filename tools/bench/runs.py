"""Whole sampling runs side by side, in turns, each skipping the same steps: no cache, both methods, and their peers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import models
import torch
from loads import PLAIN, Sampler
from profiling import memories, peak_bytes, spread
from scripted_skips import METHODS, WARMUP, at
from steps import quiet

PEERS = {"easycache": "EasyCacheNode", "lazycache": "LazyCacheNode"}  # of the host
NAMES = ("baseline", *METHODS, *PEERS)
SHORT = 5  # steps of a run that is looked at, not timed


def skipped_of(steps: int) -> range:
    """The steps that every cache skips of so many: six of ten."""
    return range(WARMUP, steps - max(2, steps // 5))


def variant(sampler: Sampler, name: str, steps: int) -> Any:
    """The model under one cache that skips ``skipped_of(steps)``."""
    skipped = skipped_of(steps)
    if name == "baseline":
        return sampler.patcher
    if name in METHODS:
        return sampler.cached(METHODS[name](sampler.pack, sampler.architecture, at(*skipped)))
    node = getattr(sampler.comfy.module("comfy_extras.nodes_easycache"), PEERS[name])
    # They skip whenever they may, and they may from the third step to this share of the schedule.
    return node.execute(sampler.patcher, 1e9, 0.0, _end_percent(sampler, steps), False).result[0]


@contextmanager
def full_passes(sampler: Sampler) -> Iterator[list]:
    """One entry for each time that the network's deepest part runs while the context lasts.

    A part of a block is watched, not the block: while a cache is around a model, its blocks are given another forward,
    and hooks on them fire on skipped steps too.
    """
    network, found = sampler.network, []
    deepest = network.middle_block if sampler.family.unet else sampler.family.blocks(network)[-1].module
    inner = next(module for module in deepest.modules() if isinstance(module, torch.nn.Linear))
    handle = inner.register_forward_hook(lambda *_: found.append(None))
    try:
        yield found
    finally:
        handle.remove()


def held(sampler: Sampler, model: Any, steps: int) -> int:
    """Bytes that lie about behind the first skipped step and were not there before the run."""
    before, found = memories(), {}

    def look(step: int) -> None:
        if step == skipped_of(steps)[0] + 1:
            found.update(memories())

    sampler.run(model, steps, look)
    return sum(size for address, size in found.items() if before.get(address) != size)


def _end_percent(sampler: Sampler, steps: int) -> float:
    sampling = sampler.patcher.get_model_object("model_sampling")
    sigmas = sampler.comfy.module("comfy.samplers").calculate_sigmas(sampling, "simple", steps)
    last = skipped_of(steps)[-1]
    between = float(sigmas[last] + sigmas[last + 1]) / 2
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sampling.percent_to_sigma(middle)) > between else (low, middle)
    return low


def peers(sampler: Sampler, steps: int, rounds: int) -> dict:
    """Per cache: run time against the baseline's of the same round, and by how much it is above EasyCache's of that
    round; skipped steps, bytes at the peak and held.

    Raises ``RuntimeError`` where not all skipped the same number of steps.
    """
    variants = {name: variant(sampler, name, steps) for name in NAMES}
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    skipped = {}
    for turn in range(rounds):
        for name in NAMES[:: 1 if turn % 2 else -1]:
            with quiet(), full_passes(sampler) as passes:
                times[name].append(sampler.run(variants[name], steps))
            skipped[name] = steps - len(passes)
    if skipped != {name: 0 if name == "baseline" else len(skipped_of(steps)) for name in NAMES}:
        raise RuntimeError(f"not all skip the same steps: {skipped}")
    memory = memory_of(sampler)
    over = {name: [a / b for a, b in zip(times[name], times["baseline"], strict=True)] for name in NAMES}
    return {
        name: {
            "run_ms": spread([1000 * s for s in times[name]], 1),
            "over_baseline": spread(over[name]),
            "above_easycache": spread([a - b for a, b in zip(over[name], over["easycache"], strict=True)]),
            "skipped": skipped[name],
            "steps": steps,
            **memory[name],
        }
        for name in NAMES
    }


def memory_of(sampler: Sampler) -> dict[str, dict[str, int]]:
    """Per cache the bytes of a short run at its peak, and those held behind its first skipped step.

    Of a network with few blocks: what is there at one time depends on the size of a block, not on how many there are.
    """
    architecture, shape, device = sampler.architecture, sampler.shape, sampler.device
    patcher = models.build(architecture, shape, device, **models.SHALLOW[architecture])
    shallow = Sampler(sampler.comfy, architecture, shape, PLAIN, patcher)
    variants = {name: variant(shallow, name, SHORT) for name in NAMES}
    bytes_held = {name: held(shallow, model, SHORT) for name, model in variants.items()}
    return {
        name: {
            "peak_bytes": peak_bytes(device, lambda model=model: shallow.run(model, SHORT)),
            "bytes_held": max(0, bytes_held[name] - bytes_held["baseline"]),
        }
        for name, model in variants.items()
    }


def longer(sampler: Sampler, steps: int) -> dict:
    """Time of one longer run with each method against one without."""
    seconds = {name: sampler.run(variant(sampler, name, steps), steps) for name in ("baseline", *METHODS)}
    over = {name: round(seconds[name] / seconds["baseline"], 4) for name in METHODS}
    return {"steps": steps, "skipped": len(skipped_of(steps)), "over_baseline": over}
