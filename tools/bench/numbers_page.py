"""The tables of docs/numbers.md, from what speed bench, counts and demo wrote: ``python3 tests/host/run.py --script
tools/bench/numbers_page.py``.  And the bounds that the speed bench is held against."""

import statistics
from collections.abc import Iterator, Sequence

import bench
import torch
from bench import put, table

from dicache_core import CacheConfig
from dicache_core.engine.memory import CacheMemory

PAGE = bench.DOCS / "numbers.md"
# What is allowed, of a call without the node.
ROOM_COMPUTED = 0.01
ROOM_SKIPPED = {"dicache": 0.01, "forecast": 0.005}  # over what has to run: the probe's part; the host's part alone
ROOM_NOISY = 0.02  # of a skipped call of the forecast where the sampler adds noise, the host's part included
ROOM_RUNS = 0.02  # of a run, over EasyCache's
DISTURBED = 0.01  # of a run without a cache: so much longer only by what else the machine did
METHODS = {"dicache": "paper", "forecast": "forecast"}
TITLES = {
    "baseline": "none",
    "dicache": "**DiCache, the paper's method**",
    "forecast": "**DiCache, the forecast method**",
    "easycache": "ComfyUI's EasyCache",
    "lazycache": "ComfyUI's LazyCache",
}
LOADS = {
    "guided": "guided (positive and negative together)",
    "ControlNet": "with a ControlNet",
    "samples that disagree": "two samples, one of them skipped",
    "added noise": "under euler_ancestral, which adds noise",
}
MEMORY = (  # name, image tokens, width
    ("Flux.1 dev, 1024x1024", 64 * 64, 3072),
    ("HunyuanVideo, 720p, 129 frames", 33 * 45 * 80, 3072),
    ("Wan 14B, 720p, 81 frames", 21 * 45 * 80, 5120),
)
EMOJI = "flux_emoji"  # the demo's first model, sampled in ways that compute equally many steps
EMOJI_WAYS = {
    "without": "without a cache",
    "fewer steps": "half the steps",
    "EasyCache": "ComfyUI's EasyCache",
    "paper at 2x": "DiCache, the paper's rule at 2x",
    "balanced": "**`balanced`**, the default",
}


def publish() -> None:
    """Write every table of the page."""
    calls, demo = bench.results("calls.json"), bench.results("demo.json")
    put(PAGE, speed=markdown(speeds()), calls=calls_markdown(calls), demo=demo_markdown(demo))


def speeds() -> list[dict]:
    """What the speed bench wrote on machines so far."""
    return [bench.results(path.name) for path in sorted(bench.RESULTS.glob("speed-*.json"))]


def markdown(results: Sequence[dict]) -> str:
    """Everything between the markers of the speed bench."""
    none = "This version was not measured yet: `make bench-speed` writes its tables here."
    return "\n\n".join([*([part for result in results for part in of_device(result)] or [none]), _memory()])


def of_device(result: dict) -> Iterator[str]:
    records = result["architectures"]
    first = records[0]["peers"]["dicache"]
    yield f"Measured on: {result['device']}; torch {result['torch']}, ComfyUI {result['host']}; medians (quartiles)."
    yield table(
        (
            "model", "step", "computed: paper", "forecast", "skipped: paper", "probe, embeddings, head",
            "skipped: forecast", "beyond the host's part", "decision: paper, forecast",
        ),
        map(_call_row, records),
    )  # fmt: skip
    yield (
        "Under other loads, against the same step without the node. *Host alone* is a step that ComfyUI makes around a "
        "model that does nothing; a ControlNet is in it, as it runs before any cache is asked."
    )
    yield table(
        (
            "model, load",
            "step",
            "computed: paper",
            "forecast",
            "skipped: paper",
            "forecast",
            "host alone",
            "held: paper, forecast",
        ),
        [
            (
                f"{record['architecture']}, {LOADS[costs['load']]}",
                *_costs(costs),
                _percent(costs["host_over_call"]) if "host_over_call" in costs else "",
                ", ".join(_bytes(costs["methods"][name]["bytes_held"]) for name in METHODS),
            )
            for record in records
            for costs in record["calls"][1:]
        ],
    )
    yield (
        f"Side by side, {first['skipped']} of {first['steps']} steps skipped by each: time of a run against no cache, "
        "bytes more at its peak, and bytes held between steps."
    )
    yield table(
        ("cache", *(record["architecture"] for record in records)),
        [(title, *(_peer(record["peers"], name) for record in records)) for name, title in TITLES.items()],
    )
    yield from (part for record in records if "growth" in record for part in _growth(record["growth"]))
    tiny = result["testbed"]
    paper, forecast = (tiny["methods"][name] for name in METHODS)
    yield (
        f"The trained tiny Flux at {tiny['steps']} steps, nothing forced: the published settings skip "
        f"{paper['skipped']} and take {paper['over_baseline']['median']:.2f} of the time without DiCache, which is "
        f"{paper['over_ideal']:.2f} times (computed + skipped x {paper['least_share']:.1%}) / steps, the share being "
        "what a skipped step costs at least: first block, embeddings, head and the host's part. The default preset "
        f"skips {forecast['skipped']} and takes {forecast['over_baseline']['median']:.2f}."
    )


def _costs(costs: dict) -> tuple[str, ...]:
    """A step, then both methods' computed and skipped ones against it."""
    methods = [costs["methods"][name] for name in METHODS]
    more = (_percent(method["computed_over_call"], minus=1.0, sign="+") for method in methods)
    return f"{costs['call_ms']['median']:.0f} ms", *more, *(_percent(m["skipped_over_call"]) for m in methods)


def _call_row(record: dict) -> tuple[str, ...]:
    costs = record["calls"][0]
    forecast = costs["methods"]["forecast"]
    decisions = [f"{record['decision_ms'][name]['median']:.2f}" for name in METHODS]
    return (
        f"{record['shape']} ({record['tokens']} tokens, {record['dtype']})",
        *_costs(costs)[:4],
        f"{record['probe_share'] + record['outside_share']:.1%}",
        *(_percent(forecast[f"skipped_over_{what}"], digits=2) for what in ("call", "host")),
        f"{', '.join(decisions)} ms",
    )


def _peer(peers: dict, name: str) -> str:
    peer, plain = peers[name], peers["baseline"]
    time = f"{peer['over_baseline']['median']:.3f}"
    more = peer["peak_bytes"] - plain["peak_bytes"]
    return time if name == "baseline" else f"{time}, {_bytes(more)}, {_bytes(peer['bytes_held'])}"


def _growth(growth: dict) -> Iterator[str]:
    yield "How it grows (Flux):"
    yield table(
        ("size", "step", "computed: paper", "forecast", "skipped: paper", "forecast", "held: paper", "forecast"),
        [
            (f"{kind} {row[kind]}", *_costs(row), *(_bytes(row["methods"][name]["bytes_held"]) for name in METHODS))
            for kind in ("tokens", "batch")
            for row in growth[kind]
        ],
    )
    runs = []
    for row in growth["steps"]:
        times = ", ".join(f"{row['over_baseline'][name]:.2f}" for name in METHODS)
        runs.append(f"{row['skipped']} of {row['steps']}: {times}")
    yield f"Whole runs, skipped steps and time against no cache (paper, forecast): {'; '.join(runs)}."


def _memory() -> str:
    """What the formula says, in 16 bits and in 8."""

    def held(bits: int, tokens: int, width: int) -> str:
        config = CacheConfig(threshold=0.4, residual_bits=bits)
        return _bytes(CacheMemory(config, tokens, width, torch.bfloat16).expected_bytes())

    rows = [(name, n, *(held(bits, n, width) for bits in (16, 8))) for name, n, width in MEMORY]
    return (
        "Memory between steps, per sample and cond: `width x bytes x (2 x tokens + 3 x probe tokens)`, probe tokens "
        "being 1/84 of the tokens, at least 48 (all up to 1024 tokens). A sample of the latent, under 32 KiB, is not "
        f"in it. In bfloat16, and with `residual_bits` 8:\n\n{table(('model', 'tokens', 'held', '8 bits'), rows)}"
    )


def _percent(value: dict, minus: float = 0.0, sign: str = "", digits: int = 1) -> str:
    low, middle, high = (100 * (value[k] - minus) for k in ("low", "median", "high"))
    return f"{middle:{sign}.{digits}f}% ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def disturbed(result: dict) -> list[str]:
    """Architectures whose runs under EasyCache took clearly less than the steps that they computed."""

    def slowed(peer: dict) -> bool:
        return peer["over_baseline"]["median"] < 1 - peer["skipped"] / peer["steps"] - DISTURBED

    return [record["architecture"] for record in result["architectures"] if slowed(record["peers"]["easycache"])]


def bounds(result: dict) -> Iterator[tuple[str, float, float]]:
    """(name, measured, allowed) of everything that has a bound."""
    tiny = result["testbed"]
    yield "testbed: paper's run over its ideal", tiny["methods"]["dicache"]["over_ideal"], tiny["allowed"]
    for record in result["architectures"]:
        name, share = record["architecture"], record["probe_share"] + record["outside_share"]
        methods, peers = record["calls"][0]["methods"], record["peers"]
        for method, title in METHODS.items():
            over = methods[method]["computed_over_call"]["median"]
            yield f"{name}: computed step, {title}", over, 1 + ROOM_COMPUTED
            yield f"{name}: run, {title}, above EasyCache's", peers[method]["above_easycache"]["median"], ROOM_RUNS
        skipped = methods["dicache"]["skipped_over_call"]["median"]
        yield f"{name}: skipped step, paper", skipped, share + ROOM_SKIPPED["dicache"]
        for costs in record["calls"]:
            if costs["load"] == "added noise":
                noisy = costs["methods"]["forecast"]["skipped_over_call"]["median"]
                yield f"{name}: skipped step under added noise, forecast", noisy, ROOM_NOISY
        beyond = methods["forecast"]["skipped_over_host"]["median"]
        yield f"{name}: skipped step, forecast, beyond the host's part", beyond, ROOM_SKIPPED["forecast"]


# What the pack does in each kind of call, and the demo


def calls_markdown(rows: Sequence[dict]) -> str:
    """Waits, operations and passes over large tensors, without guidance and with it."""
    found = {(row["load"], row["call"], row["method"]): row for row in rows}
    head = ("paper: waits, operations", "over hidden states", "over probe tokens")
    lines = []
    for load, title in {"plain": "", "guided": ", guided"}.items():
        for call in dict.fromkeys(row["call"] for row in rows):
            paper, forecast = (found[load, call, method] for method in METHODS)
            # Beside the wait that every call has, for its noise level.
            waits = [sum(n for name, n in row["syncs"].items() if name != "read_sigma") for row in (paper, forecast)]
            passes = [paper["passes"].get(kind, 0) for kind in ("hidden", "probe")]
            first, second = f"{waits[0]}, {paper['operations']}", f"{waits[1]}, {forecast['operations']}"
            lines.append((f"{call}{title}", first, *passes, second, forecast["passes"].get("latent", 0)))
    return table(("step", *head, "forecast: waits, operations", "over latents"), lines)


def demo_markdown(report: dict) -> str:
    """Medians of the demo's runs: a row per way of sampling the first model, then a row per other model."""
    models = dict.fromkeys(run["architecture"] for run in report["runs"])
    ways = dict.fromkeys(run["way"] for run in report["runs"] if run["architecture"] == EMOJI)
    plain, rows, others = demo_runs(report, EMOJI, "without"), [], []
    for way in ways:
        runs = demo_runs(report, EMOJI, way)
        gained = ("", "") if way == "without" else (f"{demo_speedup(plain, runs):.2f}x", _psnr(runs))
        rows.append((EMOJI_WAYS[way], f"{_median(runs, 'computed'):g}", f"{_median(runs, 'seconds'):.2f}", *gained))
    for model in models:
        without, *cached = (demo_runs(report, model, way) for way in ("without", "published", "balanced"))
        if model != EMOJI:
            steps = f"{_median(without, 'computed'):g} steps, {_median(without, 'seconds'):.2f} s"
            cells = [
                (f"{_median(runs, 'computed'):g} computed, {demo_speedup(without, runs):.2f}x", _psnr(runs))
                for runs in cached
            ]
            others.append((model, len(without), steps, *cells[0], *cells[1]))
    return "\n\n".join(
        [
            f"ComfyUI {report['host']} on a CPU. Seconds and steps are medians over the captions. PSNR is the median, "
            "against the run without a cache, with the lowest and highest in brackets.",
            table((EMOJI, "computed steps", "seconds", "speed-up", "PSNR"), rows),
            "`balanced` is the default: nothing on the node is set.",
            table(("model", "captions", "without", "published", "PSNR", "balanced", "PSNR"), others),
        ]
    )


def demo_runs(report: dict, architecture: str, way: str) -> list[dict]:
    """The runs of one model in one way, in the order of the captions."""
    return [run for run in report["runs"] if (run["architecture"], run["way"]) == (architecture, way)]


def demo_speedup(without: Sequence[dict], runs: Sequence[dict]) -> float:
    """Median over the captions of how much faster ``runs`` were."""
    return statistics.median(a["seconds"] / b["seconds"] for a, b in zip(without, runs, strict=True))


def _psnr(runs: Sequence[dict]) -> str:
    values = sorted(run["psnr"] for run in runs)
    spread = f" ({values[0]:.1f} to {values[-1]:.1f})" if len(values) > 1 else ""
    return f"{statistics.median(values):.1f}{spread}"


def _median(runs: Sequence[dict], value: str) -> float:
    return statistics.median(run[value] for run in runs)


if __name__ == "__main__":
    publish()
