"""Sample testbed models in a real ComfyUI with and without DiCache: ``make demo``.

The server is ComfyUI's own, the graph goes through its HTTP API, and every number is measured in this run: computed and
reused steps come from the pack's own ``dicache.step`` events, seconds are those of the KSampler node.  Pictures and
``report.json`` are written to output/demo.
"""

import argparse
import io
import json
import statistics
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from skimage.metrics import peak_signal_noise_ratio

REPO = Path(__file__).resolve().parents[1]
sys.path.extend([str(REPO / "tests"), str(REPO / "tests" / "host")])
from comfy_server import ComfyServer, Event, Graph, Run  # noqa: E402
from demo_graph import APPLY, SAMPLER, SAVE, demo_graph  # noqa: E402
from provision import ProvisionError, running_host  # noqa: E402
from sheet import side_by_side  # noqa: E402
from testbed.captions import CAPTIONS  # noqa: E402

SAME_PICTURE_PSNR = 100.0  # written for two equal pictures, whose PSNR is infinite


@dataclass(frozen=True)
class Show:
    """What the demo samples of one architecture."""

    captions: tuple[str, ...]
    steps: int = 30
    cfg: float = 1.0


SHOWS = {
    "flux": Show(CAPTIONS[:4]),
    "hunyuan_video": Show(CAPTIONS[4:6]),
    "wan": Show(CAPTIONS[8:10], cfg=3.0),
}


@dataclass
class Pair:
    """One caption sampled twice, without and with DiCache."""

    architecture: str
    caption: str
    steps: int
    computed: int
    reused: int
    cells: str
    seconds_baseline: float
    seconds_dicache: float
    psnr: float
    baseline: list[np.ndarray] = field(repr=False)  # frames, each (H, W, 3) uint8
    dicache: list[np.ndarray] = field(repr=False)

    def row(self) -> dict:
        """What report.json says of it."""
        row = {k: v for k, v in asdict(self).items() if k not in ("baseline", "dicache")}
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}


def graph_for(architecture: str, caption: str, *, dicache: bool, seed: int, steps: int) -> Graph:
    """The demo's workflow in ComfyUI's API format; without DiCache the node is bypassed as a user would."""
    graph = demo_graph(caption, architecture, seed=seed, steps=steps, cfg=SHOWS[architecture].cfg)
    graph[SAVE]["inputs"]["filename_prefix"] = f"{architecture}-{'dicache' if dicache else 'baseline'}"
    if not dicache:
        graph[SAMPLER]["inputs"]["model"] = graph.pop(APPLY)["inputs"]["model"]
    return graph


def sample_pair(server: ComfyServer, architecture: str, caption: str, seed: int, on_event) -> Pair:
    """Both runs of one caption."""
    steps = SHOWS[architecture].steps
    runs = {}
    for dicache in (False, True):
        run = server.run(graph_for(architecture, caption, dicache=dicache, seed=seed, steps=steps), on_event)
        if run.error:
            raise RuntimeError(
                f"ComfyUI failed on {architecture}: {run.error['exception_message']}\n{server.log[-3000:]}"
            )
        runs[dicache] = run
    cells = _cells(runs[True])
    pictures = {dicache: _pictures(server, run) for dicache, run in runs.items()}
    reused = cells.count("r")
    return Pair(
        architecture=architecture,
        caption=caption,
        steps=len(cells),
        computed=len(cells) - reused,
        reused=reused,
        cells=cells,
        seconds_baseline=runs[False].seconds(SAMPLER),
        seconds_dicache=runs[True].seconds(SAMPLER),
        psnr=_psnr(pictures[False], pictures[True]),
        baseline=pictures[False],
        dicache=pictures[True],
    )


def _cells(run: Run) -> str:
    """One letter per step, from the pack's last event: w warm-up, c computed, r reused, l last."""
    events = run.data("dicache.step")
    if not events:
        raise RuntimeError("The pack sent no dicache.step event, so it did not take part in the run.")
    return events[-1]["cells"]


def _pictures(server: ComfyServer, run: Run) -> list[np.ndarray]:
    entries = run.outputs[SAVE]["images"]
    return [np.asarray(Image.open(io.BytesIO(server.image(entry))).convert("RGB")) for entry in entries]


def _psnr(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    one, other = np.stack(one), np.stack(other)
    return (
        SAME_PICTURE_PSNR if np.array_equal(one, other) else float(peak_signal_noise_ratio(one, other, data_range=255))
    )


def sample_all(server: ComfyServer, architectures: list[str], console: Console) -> list[Pair]:
    """Every caption of every architecture, with a progress bar."""
    jobs = [(a, n, caption) for a in architectures for n, caption in enumerate(SHOWS[a].captions)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pairs = []
    with Progress(*columns, console=console) as progress:
        total = progress.add_task("steps", total=sum(2 * SHOWS[a].steps for a, _, _ in jobs))
        done = 0

        def on_event(event: Event) -> None:
            nonlocal done
            if event.type == "progress":  # ComfyUI may leave some steps out
                progress.update(total, completed=done + event.data["value"])
                done += event.data["max"] if event.data["value"] == event.data["max"] else 0

        for architecture in architectures:
            # The first run of a model pays for loading; it is not part of the comparison.
            progress.update(total, description=f"{architecture}: loading")
            for dicache in (False, True):
                server.run(graph_for(architecture, CAPTIONS[0], dicache=dicache, seed=99, steps=2))
            for _, seed, caption in (job for job in jobs if job[0] == architecture):
                progress.update(total, description=f"{architecture}: {caption}")
                pairs.append(sample_pair(server, architecture, caption, seed, on_event))
    return pairs


def show_table(pairs: list[Pair], console: Console) -> None:
    """The report as a table, medians per architecture at the end."""
    table = Table(title="DiCache in a real ComfyUI")
    table.add_column("caption", min_width=20)
    for name in ("computed", "skipped", "baseline", "DiCache", "faster", "PSNR"):
        table.add_column(name, justify="right", no_wrap=True)
    for architecture in dict.fromkeys(p.architecture for p in pairs):
        group = [p for p in pairs if p.architecture == architecture]
        for p in group:
            table.add_row(*_table_row(p.caption, [p]))
        table.add_row(*_table_row(f"{architecture}, median", group), style="bold", end_section=True)
    console.print(table)


def _table_row(name: str, pairs: list[Pair]) -> list[str]:
    def median(key: str) -> float:
        return statistics.median(getattr(p, key) for p in pairs)

    faster = statistics.median(p.seconds_baseline / p.seconds_dicache for p in pairs)
    counts = [f"{median(key):g}" for key in ("computed", "reused")]
    seconds = [f"{median(key):.2f} s" for key in ("seconds_baseline", "seconds_dicache")]
    return [name, *counts, *seconds, f"{faster:.2f}x", f"{median('psnr'):.1f} dB"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Sample with and without DiCache in a real ComfyUI.")
    parser.add_argument("--architecture", action="append", choices=SHOWS, help="only this one (may be repeated)")
    parser.add_argument("--gpu", action="store_true", help="let ComfyUI use the GPU; the default is the CPU")
    parser.add_argument("--output", type=Path, default=REPO / "output" / "demo")
    parser.add_argument("--report", type=Path, help="write the report here too (README's is bench/results/demo.json)")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log file wraps nothing
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        host = running_host()
        console.print(f"Starting ComfyUI {host.version} ({'GPU' if options.gpu else 'CPU'}) ...")
        with ComfyServer(host, cpu=not options.gpu) as server:
            pairs = sample_all(server, options.architecture or list(SHOWS), console)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except ProvisionError as error:
        console.print(error)
        return 1
    for architecture in dict.fromkeys(p.architecture for p in pairs):
        path = options.output / f"side_by_side-{architecture}.png"
        side_by_side([p for p in pairs if p.architecture == architecture], path)
        console.print(f"wrote {path}")
    report = {"host": host.version, "runs": [p.row() for p in pairs]}
    for path in filter(None, (options.output / "report.json", options.report)):
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        console.print(f"wrote {path}")
    show_table(pairs, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
