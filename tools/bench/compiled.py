"""What torch.compile and the cache make of each other: ``make bench-compile``.

Trained tiny models, with and without a cache, compiled per block and whole.  Every figure is the run time over that of
the uncached, uncompiled run of the same round in this process, as a median.  Writes tools/bench/results/compile.json.
``--quick`` traces one model's blocks and makes no code of them, to show that all this runs.
"""

import importlib
import statistics
import sys
import time
from typing import Any

import bench
import torch
from compiling import BLOCKS, WHOLE, compiled
from passes import Passes
from provision import running_host
from torch._dynamo.utils import counters

SIZES = {"flux": {"size": 48}, "wan": {"size": 16, "frames": 5}}  # latent pixels
STEPS, QUICK_STEPS = 12, 5


class Bench:
    """One architecture and one latent."""

    def __init__(self, comfy: Any, architecture: str, steps: int = STEPS) -> None:
        self.passes, self.steps = Passes(comfy, architecture), steps
        self.latent = self.passes.latent(**SIZES[architecture])
        # A CPU's own seconds do not count what else the machine does meanwhile.
        self.clock = time.process_time if comfy.device == "cpu" else time.perf_counter

    def run(self, model: Any) -> tuple[float, torch.Tensor]:
        """Seconds of one sampling run, and its latent."""
        begin = self.clock()
        out = self.passes.sample(model, latent=self.latent, steps=self.steps)
        return self.clock() - begin, out

    def measure(self, what: str, backend: str, rounds: int) -> dict:
        """One way of compiling."""
        torch._dynamo.reset()
        counters.clear()
        plain, cached = self.passes.model(), self.passes.cached()
        models = {"plain": plain, "cached": cached}
        models |= {"compiled": compiled(self.passes.comfy, plain, what, backend)}
        models |= {"compiled and cached": self.passes.cached(models["compiled"])}
        begin, out = time.perf_counter(), {}
        for name, model in models.items():
            out[name] = self.run(model)[1]
            self.run(model)
        preparing, graphs = time.perf_counter() - begin, counters["stats"]["unique_graphs"]
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(rounds):
            for name, model in models.items():
                times[name].append(self.run(model)[0])
        over = {n: [a / b for a, b in zip(t, times["plain"], strict=True)] for n, t in times.items() if n != "plain"}
        self.run(models["compiled and cached"])
        return {
            "run_s": round(statistics.median(times["plain"]), 3),
            "over_plain": {name: round(statistics.median(ratios), 3) for name, ratios in over.items()},
            "reused": self.passes.run.cells.count("r"),
            "steps": self.steps,
            "first_runs_s": round(preparing, 1),
            "graphs": graphs,
            "graphs_later": counters["stats"]["unique_graphs"] - graphs,
            "largest_difference": {
                "compiled": float((out["compiled"] - out["plain"]).abs().max()),
                "compiled and cached": float((out["compiled and cached"] - out["cached"]).abs().max()),
            },
        }


def shown(found: dict) -> str:
    names = ("cached", "compiled", "compiled and cached")
    rows = [
        (
            key, *(f"{row['over_plain'][name]:.2f}" for name in names), f"{row['reused']}/{row['steps']}",
            f"{row['graphs']}, {row['graphs_later']}", f"{row['first_runs_s']:.0f} s",
        )
        for key, row in found.items()
    ]  # fmt: skip
    return bench.table(("run time over the plain run's", *names, "reused", "graphs, later", "first runs"), rows)


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--backend", default="inductor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=SIZES, help="one architecture")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(only="wan", backend="eager", rounds=1)
    sys.path.insert(0, running_host().comfy)
    # The attention that ComfyUI takes on GPUs; the one it takes on CPUs asks for free memory and so breaks every graph.
    importlib.import_module("comfy.cli_args").args.use_pytorch_cross_attention = True
    comfy, found = bench.host(threads=0), {}
    for architecture in [options.only] if options.only else SIZES:
        for what in (BLOCKS,) if options.quick else (BLOCKS, WHOLE):
            lab = Bench(comfy, architecture, QUICK_STEPS if options.quick else STEPS)
            found[f"{architecture}, {what}"] = lab.measure(what, options.backend, options.rounds)
    print(shown(found))
    bench.write("compile.json", found, quick=options.quick or bool(options.only) or options.backend != "inductor")


if __name__ == "__main__":
    main()
