"""What the cache costs and saves: ``make bench-speed``.

Every figure is a ratio or a difference measured in this one process, in turns, as a median with quartiles.  On a GPU
the models have their real shapes; on a CPU they have their real depth and less width.  Writes
bench/results/speed-<device>.json; ``bench/tables.py`` makes the table of docs/numbers.md from it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO / "tests"), str(REPO / "tests" / "host")])
import inprocess  # noqa: E402
import models  # noqa: E402
from gauges import spread  # noqa: E402
from layout import base_directory  # noqa: E402
from provision import running_host  # noqa: E402
from runs import growth_with_steps, peers  # noqa: E402
from steps import Bench, decision_ms, shares, step_costs  # noqa: E402
from tables import as_console  # noqa: E402
from testbed.captions import CAPTIONS  # noqa: E402

TESTBED_STEPS = 30
SLACK = 1.15  # of the testbed's wall time over (computed + reused x probe share) / steps


def measure(bench: Bench, architecture: str, rounds: int, quick: bool) -> dict:
    """Everything about one architecture."""
    shape = models.shapes(bench.device)[architecture]
    patcher = models.build(architecture, shape, bench.device)
    record = {
        "architecture": architecture,
        "device": device_name(bench.device),
        "shape": shape.label,
        "tokens": shape.tokens,
        "width": shape.width,
        "dtype": str(models.dtype_of(bench.device)).removeprefix("torch."),
        **step_costs(bench, patcher, architecture, shape, rounds),
        "decision_ms": decision_ms(bench, shape, rounds),
        "peers": peers(bench, patcher, shape, steps=6 if quick else 10, rounds=max(1, rounds // 6)),
    }
    sides = record["peers"]
    record["peak_bytes"] = {"without": sides["baseline"]["peak_bytes"], "with": sides["dicache"]["peak_bytes"]}
    if architecture == "flux":
        record["growth"] = growth(bench, patcher, architecture, shape, max(3, rounds // 3), quick)
    return record


def growth(bench: Bench, patcher: object, architecture: str, shape: models.Shape, rounds: int, quick: bool) -> dict:
    """The same with more tokens, more samples, more steps."""
    factors = [1, 2] if quick else [1, 2, 4]

    def row(name: str, value: int, costs: dict) -> dict:
        kept = ("step_ms", "computed_over_step", "reused_over_step", "bytes_held")
        return {name: value} | {key: costs[key] for key in kept}

    larger = [shape.larger(factor) for factor in factors]
    return {
        "tokens": [row("tokens", s.tokens, step_costs(bench, patcher, architecture, s, rounds)) for s in larger],
        "batch": [row("batch", n, step_costs(bench, patcher, architecture, shape, rounds, batch=n)) for n in factors],
        "steps": growth_with_steps(bench, patcher, shape, [6, 8] if quick else [10, 20]),
    }


def testbed(bench: Bench, rounds: int) -> dict:
    """Wall time of whole runs of trained tiny Flux with the published settings, against what its steps would allow.

    "probe_share" is what a step costs that ends behind its probe: first block, embeddings and head, by time.
    """
    core, comfy = bench.core, bench.comfy
    model, times = comfy.load_model("flux"), []
    network = model.model.diffusion_model
    family = bench.patchers.family_of(network)
    with shares(bench.device, network, family) as share:
        sampling_seconds(comfy, model)
    for _ in range(rounds):
        runs: list = []
        cached = bench.patchers.attach(model, core.published("flux"), runs=runs)
        plain = sampling_seconds(comfy, model)
        times.append(sampling_seconds(comfy, cached) / plain)
    reused = runs[0].cells.count("r")

    def over_ideal(probe: float) -> float:
        return round(statistics.median(times) * TESTBED_STEPS / (TESTBED_STEPS - reused + reused * probe), 4)

    return {
        "steps": TESTBED_STEPS,
        "reused": reused,
        "probe_share": round(share["probe"] + share["outside"], 4),
        "probe_share_of_blocks": round(1 / len(family.blocks(network)), 4),
        "over_baseline": spread(times),
        "over_ideal": over_ideal(share["probe"] + share["outside"]),
        "over_ideal_by_blocks": over_ideal(1 / len(family.blocks(network))),
        "allowed": SLACK,
    }


def sampling_seconds(comfy: object, model: object) -> float:
    begin = time.perf_counter()
    comfy.sample(model, CAPTIONS[0], steps=TESTBED_STEPS, size=32)
    return time.perf_counter() - begin


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what the cache costs and saves.")
    parser.add_argument("--architecture", action="append", choices=models.REAL, help="only this one (may be repeated)")
    parser.add_argument("--rounds", type=int, default=16, help="turns of each measurement of single steps")
    parser.add_argument("--quick", action="store_true", help="few turns and small models, to see that it works")
    parser.add_argument("--output", type=Path, help="where to write instead of bench/results/speed-<device>.json")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    os.environ["DICACHE_TEST_DEVICE"] = device.type
    begin = time.perf_counter()
    host, rounds = running_host(), 3 if options.quick else options.rounds
    if options.quick:
        models.NARROW = {
            name: replace(shape, width=128, latent=(*shape.latent[:-1], 4)) for name, shape in models.NARROW.items()
        }
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(inprocess.start(Path(host.comfy), base_directory(Path(folder))), device)
        records = [measure(bench, a, rounds, options.quick) for a in options.architecture or models.REAL]
        tiny = testbed(bench, 1 if options.quick else 15)
    result = {
        "device": device_name(device),
        "torch": torch.__version__,
        "host": host.version,
        "quick": options.quick,
        "seconds": round(time.perf_counter() - begin),
        "architectures": records,
        "testbed": tiny,
    }
    output = options.output or BENCH / "results" / f"speed-{device.type}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    as_console(result)
    print(f"wrote {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
