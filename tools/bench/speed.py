"""What the cache costs and saves: ``make bench-speed``.

Every figure is a ratio or a difference measured in this one process, in turns, as a median with quartiles.  On a GPU
the models have their real shapes; on a CPU they have their real depth and less width.  Writes
tools/bench/results/speed-<device>.json and the tables of docs/numbers.md.
"""

import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

import bench
import models
import numbers_page
import torch
from loads import APART, CONTROL, GUIDED, NOISY, PLAIN, Load, Sampler
from profiling import spread
from runs import longer, peers
from steps import call_costs, decision_ms, shares
from testbed.captions import CAPTIONS

# Beside the plain one: loads that people have with such a model.
LOADS = {"flux": (CONTROL, APART, NOISY), "wan": (GUIDED,), "sdxl": (GUIDED,)}
ROUNDS_OF_NOISE = 6  # at least: in a shorter run too much of the first noise is left for a skip
SLACK = 1.15  # of the testbed's wall time over (computed + skipped x probe share) / steps


@dataclass(frozen=True)
class Effort:
    """How often things are measured.

    Attributes:
        calls: computed calls of one run, and skipped ones, of each method under the plain load.
        most: of them in several runs, where the first one leaves open what a computed call costs.
        others: the same under another load.
        grown: the same of a model with fewer tokens or more samples.
        runs, steps: whole runs of each cache, and of how many steps.
        testbed, testbed_steps: the same of the trained model.
        growth: of tokens and samples.
        longer: steps of one run more of each method.
    """

    calls: int = 20
    most: int = 80
    others: int = 4
    grown: int = 4
    runs: int = 5
    steps: int = 10
    testbed: int = 3
    testbed_steps: int = 30
    growth: tuple[int, ...] = (1, 2, 4)
    longer: int = 20


QUICK = Effort(1, most=0, others=1, grown=1, runs=1, steps=5, testbed=1, testbed_steps=8, growth=(1, 2), longer=6)


def measure(comfy: Any, architecture: str, effort: Effort) -> dict:
    """Everything about one architecture."""
    device = torch.device(comfy.device)
    shape, changed = models.shapes(device)[architecture], {}
    if effort is QUICK:
        shape, changed = shape.tiny(), models.SHALLOW[architecture]
    patcher = models.build(architecture, shape, device, **changed)
    sampler = Sampler(comfy, architecture, shape, PLAIN, patcher)
    share, (tokens, width) = shares(sampler), sampler.size
    record = {
        "architecture": architecture,
        "shape": shape.label,
        "tokens": tokens,
        "width": width,
        "dtype": str(models.dtype_of(device)).removeprefix("torch."),
        "probe_share": round(share["probe"], 4),
        "outside_share": round(share["outside"], 4),
        "calls": [call_costs(sampler, effort.calls, effort.most)],
        "decision_ms": decision_ms(sampler, 2 * effort.calls),
        "peers": peers(sampler, effort.steps, effort.runs),
    }
    for load in LOADS[architecture]:
        rounds = max(effort.others, ROUNDS_OF_NOISE) if load is NOISY else effort.others
        record["calls"].append(call_costs(replace(sampler, load=load), rounds))
    return record | ({"growth": growth(sampler, effort)} if architecture == "flux" else {})


def growth(sampler: Sampler, effort: Effort) -> dict:
    """The same with more tokens and with more samples, from a quarter of the tokens on; and with more steps."""

    def row(name: str, shape: models.Shape, load: Load) -> dict:
        larger = replace(sampler, shape=shape, load=load)
        costs = call_costs(larger, effort.grown)
        kept = ("computed_over_call", "skipped_over_call", "skipped_over_host", "bytes_held")
        of_methods = {method: {key: found[key] for key in kept} for method, found in costs["methods"].items()}
        value = larger.size[0] if name == "tokens" else load.batch
        return {name: value, "call_ms": costs["call_ms"], "methods": of_methods}

    largest, smaller = effort.growth[-1], sampler.shape.smaller
    return {
        "tokens": [row("tokens", smaller(largest // factor), PLAIN) for factor in effort.growth],
        "batch": [row("batch", smaller(largest), replace(PLAIN, batch=factor)) for factor in effort.growth],
        "steps": [longer(sampler, effort.longer)],
    }


class Testbed(Sampler):
    """Runs of the trained tiny Flux."""

    def __init__(self, comfy: Any) -> None:
        self.comfy, self.architecture, self.patcher = comfy, "flux", comfy.load_model("flux")

    def run(self, model: Any, steps: int) -> float:
        begin = time.perf_counter()
        with torch.inference_mode():
            self.patchers("frames").with_room(self.comfy.sample, model, CAPTIONS[0], steps=steps, size=32)
        return time.perf_counter() - begin


def testbed(comfy: Any, effort: Effort) -> dict:
    """Whole runs of a trained model as people have them, nothing forced: the published settings and the default preset.

    ``over_ideal`` is the time against (computed + skipped x share) / steps, the share being what a skipped step costs
    at least: the paper's its first block, embeddings, head and the host's part, the forecast's nothing.
    """
    core, sampler = comfy.pack.dicache_core, Testbed(comfy)
    default = core.presets.preset_config(core.DEFAULT_PRESET, "flux")
    configs = {"dicache": core.presets.published("flux"), "forecast": default}
    runs: dict[str, list] = {name: [] for name in configs}
    cached = {name: sampler.cached(config, runs[name]) for name, config in configs.items()}
    share = shares(sampler)
    least = {"dicache": share["probe"] + share["outside"], "forecast": 0.0}
    times: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(effort.testbed):
        plain = sampler.run(sampler.patcher, effort.testbed_steps)
        for name, model in cached.items():
            times[name].append(sampler.run(model, effort.testbed_steps) / plain)

    def row(name: str) -> dict:
        skipped = runs[name][-1].cells.count("r")
        ideal = 1 - skipped / effort.testbed_steps * (1 - least[name])
        over = round(statistics.median(times[name]) / ideal, 4)
        share = round(least[name], 4)
        return {"skipped": skipped, "over_baseline": spread(times[name]), "least_share": share, "over_ideal": over}

    return {"steps": effort.testbed_steps, "methods": {name: row(name) for name in configs}, "allowed": SLACK}


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--architecture", action="append", choices=models.REAL, help="only this one (repeatable)")
    options = parser.parse_args()
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    os.environ["DICACHE_TEST_DEVICE"] = kind
    begin, effort = time.perf_counter(), QUICK if options.quick else Effort()
    comfy = bench.host()  # one thread: what else the machine does then disturbs least
    on_cpu = f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
    result = {
        "device": torch.cuda.get_device_name() if kind == "cuda" else on_cpu,
        "torch": torch.__version__,
        "host": comfy.version,
        "quick": options.quick,
        "architectures": [measure(comfy, name, effort) for name in options.architecture or models.REAL],
        "testbed": testbed(comfy, effort),
    }
    result["seconds"] = round(time.perf_counter() - begin)
    print("\n\n".join(numbers_page.of_device(result)))
    if not options.quick and (slowed := numbers_page.disturbed(result)):
        sys.exit(f"{', '.join(slowed)}: the runs without a cache were slowed by something else; measure again")
    bench.write(f"speed-{kind}.json", result, quick=options.quick or bool(options.architecture))
    if not options.quick:
        for name, measured, allowed in numbers_page.bounds(result):
            print(f"{'met ' if measured <= allowed else 'OVER'}  {name}: {measured:.4f} of at most {allowed:.4f}")
        numbers_page.publish()


if __name__ == "__main__":
    main()
