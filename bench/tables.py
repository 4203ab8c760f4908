"""The tables of docs/numbers.md, from bench/results: ``python bench/tables.py`` writes them in."""

import json
import re
import statistics
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
README = REPO / "README.md"
NUMBERS = REPO / "docs" / "numbers.md"
RESULTS = REPO / "bench" / "results"
DEMO = RESULTS / "demo.json"  # make demo ARGS="--report bench/results/demo.json"
ROOM_REUSED = 0.01  # of a full step, over the probe's, the embeddings' and the head's part
ROOM_COMPUTED = {"cpu": 0.02, "cuda": 0.01}
TITLES = {
    "baseline": "none",
    "dicache": "**DiCache**",
    "first_block": "first-block caching, in this engine",
    "easycache": "ComfyUI's EasyCache",
    "lazycache": "ComfyUI's LazyCache",
}
MEMORY = (  # name, image tokens, width
    ("Flux.1 dev, 1024x1024", 64 * 64, 3072),
    ("HunyuanVideo, 720p, 129 frames", 33 * 45 * 80, 3072),
    ("Wan 14B, 720p, 81 frames", 21 * 45 * 80, 5120),
)


def markdown(results: list[dict]) -> str:
    """Everything between the markers."""
    return "\n\n".join([*(part for result in results for part in _of_device(result)), _memory()])


def demo_markdown(report: dict) -> str:
    """Medians of the demo's runs: a row per model, what each way of sampling cost."""
    lines = [
        f"ComfyUI {report['host']} on a CPU, medians over the captions; PSNR against the run without DiCache, in "
        "decibels (lowest to highest). Balanced is the default: nothing on the node is set.",
        "",
        "| model | captions | without | published | PSNR | balanced | PSNR |",
        "|---|---|---|---|---|---|---|",
    ]
    for architecture in dict.fromkeys(run["architecture"] for run in report["runs"]):
        ways = {way: demo_runs(report, architecture, way) for way in ("without", "published", "balanced")}
        without = ways.pop("without")
        cells = [architecture, str(len(without)), f"{_median(without, 'computed'):g} steps"]
        cells[-1] += f", {_median(without, 'seconds'):.2f} s"
        for runs in ways.values():
            psnr = sorted(run["psnr"] for run in runs)
            cells.append(f"{_median(runs, 'computed'):g} computed, {demo_speedup(without, runs):.2f}x")
            spread = f" ({psnr[0]:.1f} to {psnr[-1]:.1f})" if len(psnr) > 1 else ""
            cells.append(f"{statistics.median(psnr):.1f}{spread}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def demo_runs(report: dict, architecture: str, way: str) -> list[dict]:
    """The runs of one model in one way, in the order of the captions."""
    return [run for run in report["runs"] if (run["architecture"], run["way"]) == (architecture, way)]


def demo_speedup(without: list[dict], runs: list[dict]) -> float:
    """Median over the captions of how much faster ``runs`` were."""
    return statistics.median(a["seconds"] / b["seconds"] for a, b in zip(without, runs, strict=True))


def _median(runs: list[dict], value: str) -> float:
    return statistics.median(run[value] for run in runs)


def _of_device(result: dict) -> list[str]:
    records = result["architectures"]
    steps = [
        "| model | step | computed with node | skipped step | probe, embedding, head | decision | peak memory |",
        "|---|---|---|---|---|---|---|",
        *map(_step_row, records),
    ]
    first = records[0]["peers"]["dicache"]
    sides = [
        f"Side by side, {first['skipped']} of {first['steps']} steps skipped by each: time of a run against no cache, "
        "and bytes held between steps.",
        "",
        "| cache | " + " | ".join(r["architecture"] for r in records) + " |",
        "|---|" + "---|" * len(records),
        *(_peer_row(name, records) for name in TITLES),
    ]
    lines = [
        f"Measured on: {result['device']}; torch {result['torch']}, ComfyUI {result['host']}; medians (quartiles).",
        "\n".join(steps),
        "\n".join(sides),
        *(_growth(record["growth"]) for record in records if "growth" in record),
        _testbed(result["testbed"]),
    ]
    return lines


def _testbed(tiny: dict) -> str:
    return (
        f"Testbed Flux at {tiny['steps']} steps, {tiny['reused']} of them skipped: "
        f"{tiny['over_baseline']['median']:.2f} of the time without DiCache, which is {tiny['over_ideal']:.2f} times "
        "(computed + skipped x probe share) / steps, the probe share being the first block's, the embeddings' and the "
        f"head's part of a step's time, {tiny['probe_share']:.1%}. (Such small models spend much outside of their "
        f"blocks: with the first block's share of the blocks, {tiny['probe_share_of_blocks']:.1%}, it would be "
        f"{tiny['over_ideal_by_blocks']:.2f} times.)"
    )


def _step_row(record: dict) -> str:
    share = record["probe_share"] + record["outside_share"]
    peak = record["peak_bytes"]
    cells = [
        f"{record['shape']} ({record['tokens']} tokens, {record['dtype']})",
        f"{record['step_ms']['median']:.0f} ms",
        _percent(record["computed_over_step"], minus=1.0, sign="+"),
        _percent(record["reused_over_step"]),
        f"{share:.1%}",
        f"{record['decision_ms']['median']:.2f} ms",
        f"+{_bytes(peak['with'] - peak['without'])}",
    ]
    return "| " + " | ".join(cells) + " |"


def _peer_row(name: str, records: list[dict]) -> str:
    cells = [
        f"{r['peers'][name]['over_baseline']['median']:.2f}, {_bytes(r['peers'][name]['bytes_held'])}" for r in records
    ]
    return f"| {TITLES[name]} | " + " | ".join(cells) + " |"


def _growth(growth: dict) -> str:
    lines = ["How it grows (Flux):", "", "| | computed with node | skipped step | held |", "|---|---|---|---|"]
    for kind in ("tokens", "batch"):
        for row in growth[kind]:
            cells = [_percent(row["computed_over_step"], minus=1.0, sign="+"), _percent(row["reused_over_step"])]
            lines.append(f"| {kind} {row[kind]} | {cells[0]} | {cells[1]} | {_bytes(row['bytes_held'])} |")
    steps = ", ".join(f"{r['reused']} of {r['steps']}: {r['over_baseline']:.2f}" for r in growth["steps"])
    return "\n".join(lines) + f"\n\nWhole runs, steps skipped and time against no cache: {steps}."


def _memory() -> str:
    """What the formula says, in 16 bits and in 8."""
    sys.path.append(str(REPO))
    import torch

    from dicache_core import CacheConfig, expected_bytes

    def column(bits: int, tokens: int, width: int) -> str:
        config = CacheConfig(threshold=0.4, residual_bits=bits)
        return _bytes(expected_bytes(config, tokens, width, torch.bfloat16))

    lines = [
        "Memory between steps, per sample and cond: `width x bytes x (2 x tokens + 3 x probe tokens)`, probe tokens "
        "being 1/84 of the tokens, at least 48 (all up to 1024 tokens). In bfloat16, and with `residual_bits` 8:",
        "",
        "| model | tokens | held | 8 bits |",
        "|---|---|---|---|",
        *(f"| {name} | {n} | {column(16, n, w)} | {column(8, n, w)} |" for name, n, w in MEMORY),
    ]
    return "\n".join(lines)


def _percent(value: dict, minus: float = 0.0, sign: str = "") -> str:
    low, middle, high = (100 * (value[k] - minus) for k in ("low", "median", "high"))
    return f"{middle:{sign}.1f}% ({low:{sign}.1f} to {high:{sign}.1f})"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def bounds(result: dict) -> list[tuple[str, float, float]]:
    """(name, measured, allowed) of everything that has a bound."""
    kind = "cpu" if result["device"].startswith("CPU") else "cuda"
    found = [("testbed", result["testbed"]["over_ideal"], result["testbed"]["allowed"])]
    for record in result["architectures"]:
        name, share = record["architecture"], record["probe_share"] + record["outside_share"]
        found.append((f"{name}: computed step", record["computed_over_step"]["median"], 1 + ROOM_COMPUTED[kind]))
        found.append((f"{name}: reused step", record["reused_over_step"]["median"], share + ROOM_REUSED))
    return found


def as_console(result: dict) -> None:
    """The result as plain text, bounds last."""
    print("\n\n".join(_of_device(result)))
    for name, measured, allowed in bounds(result):
        print(f"{'met ' if measured <= allowed else 'OVER'}  {name}: {measured:.4f} of at most {allowed:.4f}")


def results() -> list[dict]:
    """What the benchmark wrote on machines so far."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("speed-*.json"))]


def written(page: str, name: str, table: str) -> str:
    """The text ``page`` with ``table`` between the markers of that name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"The page has no {begin} and {end}: write them where the table belongs")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", page)


def main() -> int:
    found = results()
    if not found:
        print("There is no bench/results/speed-*.json: run `make bench-speed` first.")
        return 1
    page = written(NUMBERS.read_text(encoding="utf-8"), "speed", markdown(found))
    page = written(page, "demo", demo_markdown(json.loads(DEMO.read_text(encoding="utf-8"))))
    NUMBERS.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
