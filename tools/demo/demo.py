"""Sample every model of the testbed with and without DiCache: ``make demo``.

The first model paints emoji, in full and in four ways that compute half of its steps: fewer steps, EasyCache, the
paper's rule and the default.  The others are sampled in full, with the preset ``published`` and with the default.

The server is ComfyUI's own, the graph goes through its HTTP API, and every number is measured in this run: computed and
skipped steps come from the pack's own ``dicache.step`` events, seconds are those of the KSampler node (models that take
about a second run three times, and the fastest counts).  Images and ``report.json`` are written to output/demo.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path.append(str(REPO / "tools" / "bench"))
import bench  # noqa: E402
import numbers_page  # noqa: E402
from comfy_server import ComfyServer, Event  # noqa: E402
from provision import ProvisionError, running_host  # noqa: E402
from sampling import AT_THE_SAME_COUNT, Show, Way, all_ways, graph_for, steps_of  # noqa: E402
from sheet import sheet  # noqa: E402
from testbed import emoji  # noqa: E402
from testbed.captions import CAPTIONS  # noqa: E402

SHOWS = {
    "flux_emoji": Show(emoji.CAPTIONS[:4], AT_THE_SAME_COUNT, cfg=2.5, rounds=3, reuse_threshold=0.11),
    "flux": Show(CAPTIONS[:4]),
    "hunyuan_video": Show(CAPTIONS[4:6], rounds=3),
    "wan": Show(CAPTIONS[8:10], cfg=3.0, rounds=3),
    "qwen_image": Show(CAPTIONS[:1], cfg=2.5, rounds=3, batch=4),
    "z_image": Show(CAPTIONS[:1], rounds=3, batch=4),
    "unet": Show(CAPTIONS[:1], cfg=3.0, scheduler="normal", rounds=3, batch=4, edge=128),
}


@dataclass
class Sampled:
    """One caption in every way."""

    architecture: str
    caption: str
    ways: list[Way]

    def rows(self) -> list[dict]:
        """What report.json says of it."""
        return [
            {
                "architecture": self.architecture,
                "caption": self.caption,
                "way": way.name,
                "computed": way.computed,
                "skipped": way.skipped,
                "cells": way.cells,
                "seconds": round(way.seconds, 3),
                "psnr": way.psnr and round(way.psnr, 3),
            }
            for way in self.ways
        ]

    def titles(self) -> list[str]:
        """Above its images."""
        first, *others = self.ways
        caption = self.caption.replace(" | ", "\n")
        return [f"{caption}\nwithout: {first.computed} steps, {first.seconds:.2f} s"] + [
            f"{way.name}: {way.computed} computed,\n{way.seconds:.2f} s, PSNR {way.psnr:.1f} dB" for way in others
        ]


def quickly(show: Show) -> Show:
    """One caption in a few steps, once."""
    return replace(show, captions=show.captions[:1], steps=4, rounds=1)


def sample_all(server: ComfyServer, architectures: list[str], console: Console) -> list[Sampled]:
    """Every caption of every architecture, with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shows = {a: SHOWS[a] for a in architectures}
    found = []
    with Progress(*columns, console=console) as progress:
        steps = sum(steps_of(s, way) * s.rounds * len(s.captions) for s in shows.values() for way in s.ways)
        total = progress.add_task("steps", total=steps)
        done = 0

        def on_event(event: Event) -> None:
            nonlocal done
            if event.type == "progress":  # ComfyUI may leave some steps out
                progress.update(total, completed=done + event.data["value"])
                done += event.data["max"] if event.data["value"] == event.data["max"] else 0

        for architecture, show in shows.items():
            progress.update(total, description=f"{architecture}: loading")
            warm_up(server, architecture, show)
            for seed, caption in enumerate(show.captions):
                progress.update(total, description=f"{architecture}: {caption}")
                ways = all_ways(server, architecture, caption, show, seed, on_event)
                found.append(Sampled(architecture, caption, ways))
    return found


def warm_up(server: ComfyServer, architecture: str, show: Show) -> None:
    """The first run of a model pays for loading, which is not part of the comparison."""
    short = replace(show, steps=2)
    for way in show.ways:
        server.run(graph_for(architecture, show.captions[0], short, way, seed=99))


def show_table(found: list[Sampled], console: Console) -> None:
    """The report as a table, medians per architecture at the end."""
    table = Table(title="DiCache in a real ComfyUI")
    table.add_column("caption", min_width=20)
    for name in ("way", "computed", "skipped", "seconds", "faster", "PSNR"):
        table.add_column(name, justify="right", no_wrap=True)
    for architecture in dict.fromkeys(s.architecture for s in found):
        group = [s for s in found if s.architecture == architecture]
        for name, part in [(s.caption, [s]) for s in group] + [(f"{architecture}, median", group)]:
            style = "bold" if part is group else None
            last = len(part[0].ways) - 1
            for at in range(last + 1):
                table.add_row(name if at == 0 else "", *_cells_of(part, at), style=style, end_section=at == last)
    console.print(table)


def _cells_of(part: list[Sampled], at: int) -> list[str]:
    ways = [s.ways[at] for s in part]
    median = statistics.median
    faster = median(s.ways[0].seconds / s.ways[at].seconds for s in part)
    cells = [ways[0].name, f"{median(w.computed for w in ways):g}", f"{median(w.skipped for w in ways):g}"]
    cells.append(f"{median(w.seconds for w in ways):.2f} s")
    return [*cells, "", ""] if at == 0 else [*cells, f"{faster:.2f}x", f"{median(w.psnr for w in ways):.1f} dB"]


def main() -> int:
    parser = bench.parser(__doc__)
    parser.add_argument("--architecture", action="append", choices=SHOWS, help="only this one (may be repeated)")
    parser.add_argument("--gpu", action="store_true", help="let ComfyUI use the GPU; the default is the CPU")
    parser.add_argument("--output", type=Path, default=REPO / "output" / "demo")
    parser.add_argument("--page", action="store_true", help="write the table of docs/numbers.md too")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(architecture=["flux"], output=bench.QUICK / "demo")
        SHOWS["flux"] = quickly(SHOWS["flux"])
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log file wraps nothing
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        host = running_host()
        console.print(f"Starting ComfyUI {host.version} ({'GPU' if options.gpu else 'CPU'}) ...")
        with ComfyServer(host, cpu=not options.gpu) as server:
            found = sample_all(server, options.architecture or list(SHOWS), console)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except ProvisionError as error:
        console.print(error)
        return 1
    for architecture in dict.fromkeys(s.architecture for s in found):
        path = options.output / f"side_by_side-{architecture}.png"
        sheet([(s.ways, s.titles()) for s in found if s.architecture == architecture], path)
        console.print(f"wrote {path}")
    report = {"host": host.version, "runs": [row for s in found for row in s.rows()]}
    path = options.output / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    console.print(f"wrote {path}")
    if options.page:
        bench.write("demo.json", report)
        bench.put(numbers_page.PAGE, demo=numbers_page.demo_markdown(report))
    show_table(found, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
