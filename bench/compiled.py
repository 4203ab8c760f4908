"""What torch.compile and the cache make of each other: ``make bench-compile``.

Trained tiny models, with and without a cache, compiled per block and whole.  Every figure is the run time over that of
the uncached, uncompiled run of the same round in this process, as a median.  Writes bench/results/compile.json.
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch._dynamo.utils import counters

REPO = Path(__file__).resolve().parents[1]
sys.path.extend([str(REPO / "tests"), str(REPO / "tests" / "host")])

import inprocess  # noqa: E402
from compiling import BLOCKS, WHOLE, compiled  # noqa: E402
from layout import base_directory  # noqa: E402
from passes import Passes  # noqa: E402
from provision import running_host  # noqa: E402

SIZES = {"flux": {"size": 48}, "wan": {"size": 16, "frames": 5}}  # latent pixels
STEPS = 12


class Bench:
    """One architecture and one latent."""

    def __init__(self, comfy: Any, architecture: str) -> None:
        self.passes = Passes(comfy, architecture)
        self.latent = self.passes.latent(**SIZES[architecture])
        # A CPU's own seconds do not count what else the machine does meanwhile.
        self.clock = time.process_time if comfy.device == "cpu" else time.perf_counter

    def run(self, model: Any) -> tuple[float, torch.Tensor]:
        """Seconds of one sampling run, and its latent."""
        begin = self.clock()
        out = self.passes.sample(model, latent=self.latent, steps=STEPS)
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
            "steps": STEPS,
            "first_runs_s": round(preparing, 1),
            "graphs": graphs,
            "graphs_later": counters["stats"]["unique_graphs"] - graphs,
            "largest_difference": {
                "compiled": float((out["compiled"] - out["plain"]).abs().max()),
                "compiled and cached": float((out["compiled and cached"] - out["cached"]).abs().max()),
            },
        }


def show(found: dict) -> None:
    names = ("cached", "compiled", "compiled and cached")
    table = Table("", *names, "reused", "graphs, later", "first runs", title="run time over the plain run's")
    for key, row in found.items():
        cells = [f"{row['over_plain'][name]:.2f}" for name in names]
        graphs = f"{row['graphs']}, {row['graphs_later']}"
        table.add_row(key, *cells, f"{row['reused']}/{row['steps']}", graphs, f"{row['first_runs_s']:.0f} s")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="inductor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=SIZES, help="one architecture")
    options = parser.parse_args()
    found = {}
    host = Path(running_host().comfy)
    sys.path.insert(0, str(host))
    # The attention that ComfyUI takes on GPUs; the one it takes on CPUs asks for free memory and so breaks every graph.
    importlib.import_module("comfy.cli_args").args.use_pytorch_cross_attention = True
    with tempfile.TemporaryDirectory(prefix="comfyui-dicache-", ignore_cleanup_errors=True) as folder:
        comfy = inprocess.start(host, base_directory(Path(folder)))
        for architecture in [options.only] if options.only else SIZES:
            for what in (BLOCKS, WHOLE):
                bench = Bench(comfy, architecture)
                found[f"{architecture}, {what}"] = bench.measure(what, options.backend, options.rounds)
    show(found)
    if not options.only and options.backend == "inductor":
        path = REPO / "bench" / "results" / "compile.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
