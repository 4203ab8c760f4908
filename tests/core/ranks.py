"""One process of a sequence-parallel run: ``python ranks.py RANK WORLD STORE OUT``, world 1 being the ordinary run.

A toy transformer whose tokens are split over the ranks, as raylight and xDiT split them: every block mixes all tokens,
so that the ranks have to enter the same blocks on every step, or they would wait for each other for ever.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dicache_core import CacheConfig, CacheSession, SampleKey
from dicache_core.schedule import Schedule

STEPS, WIDTH, BLOCKS = 16, 16, 4
RUNS = {  # settings, and tokens; 509 is a prime: no two ranks hold the same number
    "even": (dict(threshold=0.25), 512),
    "uneven": (dict(threshold=0.25), 509),
    "delta_minus": (dict(threshold=0.005, indicator="delta_minus"), 512),
    "all probe tokens": (dict(threshold=0.25, probe_tokens=10**6), 4096),
    "some probe tokens": (dict(threshold=0.25), 4096),
    "target": (dict(threshold=1.0, target="2x"), 512),
    "8 bits": (dict(threshold=0.25, residual_bits=8), 512),
}


class Toy:
    """``h += tanh(h W + mean(h) U)`` per block, the mean being taken over the tokens of all ranks."""

    def __init__(self, world: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.weights = [torch.randn(2, WIDTH, WIDTH, generator=draw) / WIDTH**0.5 for _ in range(BLOCKS)]
        self.world = world

    def block(self, index: int, h: torch.Tensor, tokens: int) -> torch.Tensor:
        w, u = self.weights[index]
        return h + 0.5 * torch.tanh(h @ w + self.summed(h.sum(1, keepdim=True)) / tokens @ u)

    def summed(self, sums: torch.Tensor) -> torch.Tensor:
        if self.world > 1:
            dist.all_reduce(sums)
        return sums


def sample(rank: int, world: int, settings: dict, tokens: int) -> tuple[torch.Tensor, list[dict]]:
    """This rank's slice ``(2, tokens / world, WIDTH)`` of the result, and both samples' decisions."""
    toy = Toy(world)
    config = CacheConfig(**{"warmup_steps": 3, **settings})
    schedule = Schedule(tuple(1 - i / STEPS for i in range(STEPS + 1)))
    session = CacheSession(config, schedule, toy.summed if world > 1 else None)
    noise = torch.randn(2, tokens, WIDTH, generator=torch.Generator().manual_seed(1))
    # One end of the picture moves and the other does not: a rank that looked at its own tokens would decide otherwise.
    noise *= torch.linspace(0.01, 2, tokens)[None, :, None]
    x, decisions = noise.chunk(world, dim=1)[rank].contiguous(), []
    for sigma, after in zip(schedule.sigmas, schedule.sigmas[1:], strict=False):
        cache = session.forward([SampleKey("cond", row) for row in range(2)], schedule.step_at(sigma))
        h = x * (1 + sigma)
        cache.enter(h)
        h = toy.block(0, h, tokens)
        cache.probe(h)
        if cache.all_reused:
            cache.rebuild(h)
        else:
            for index in range(1, BLOCKS):
                h = toy.block(index, h, tokens)
            cache.complete(h)
        x = x + (after - sigma) * torch.sin(h)
        decisions.append([(d.reuse, d.reason, d.error, d.gamma) for d in cache.decisions])
    return x, decisions


def main(rank: int, world: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group(
            "gloo", store=dist.FileStore(store, world), rank=rank, world_size=world, timeout=timedelta(seconds=60)
        )
    runs = {name: sample(rank, world, *run) for name, run in RUNS.items()}
    torch.save({name: x for name, (x, _) in runs.items()}, out)
    Path(out).with_suffix(".json").write_text(json.dumps({n: d for n, (_, d) in runs.items()}), encoding="utf-8")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
