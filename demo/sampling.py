"""A caption of the testbed sampled in several ways by a ComfyUI server: graphs, pictures and what the pack said."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from comfy_server import ComfyServer, Event, Graph, Run
from demo_graph import APPLY, LATENT, SAMPLER, SAVE, demo_graph
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

SAME_PICTURE_PSNR = 100.0  # written for two equal pictures, whose PSNR is infinite
WITHOUT, FEWER, PUBLISHED, BALANCED, PAPER_AT_2X = "without", "fewer steps", "published", "balanced", "paper at 2x"
POLICY = "policy"  # the id of a node that the demo's graph does not have
NOTHING_TYPED = {"threshold": -1.0, "warmup_steps": -1}  # inputs that its schema requires


@dataclass(frozen=True)
class Show:
    """What is sampled of one architecture, ``batch`` pictures at a time; of ``rounds`` of it the fastest counts.

    ``edge`` is that of a picture in pixels, 0 for what the checkpoint was trained on.
    """

    captions: tuple[str, ...]
    cfg: float = 1.0
    scheduler: str = "simple"
    steps: int = 30
    rounds: int = 1
    batch: int = 1
    edge: int = 0


@dataclass
class Way:
    """One run.

    Slots:
        cells: one letter per step, from the pack's last event: w warm-up, c computed, r skipped, l last.
        seconds: of the KSampler node.
        psnr: of the frames against those of the run without DiCache, in decibels.
        frames: each (H, W, 3) uint8.
    """

    name: str
    cells: str
    seconds: float
    frames: list[np.ndarray] = field(repr=False)
    psnr: float | None = None

    @property
    def skipped(self) -> int:
        return self.cells.count("r")

    @property
    def computed(self) -> int:
        return len(self.cells) - self.skipped


def graph_for(architecture: str, caption: str, show: Show, way: str, seed: int) -> Graph:
    """The demo's workflow in ComfyUI's API format, as a user would change it for ``way``."""
    steps = show.steps // 2 if way == FEWER else show.steps
    graph = demo_graph(caption, architecture, seed=seed, steps=steps, cfg=show.cfg, scheduler=show.scheduler)
    graph[LATENT]["inputs"]["batch_size"] = show.batch
    if show.edge:
        size = {"width": show.edge, "height": show.edge, "batch_size": show.batch}
        graph[LATENT] = {"class_type": "EmptySD3LatentImage", "inputs": size}  # 16 channels, as the testbed's
    graph[SAVE]["inputs"]["filename_prefix"] = f"{architecture}-{way.replace(' ', '_')}"
    model = graph[APPLY]["inputs"]["model"]
    if way in (WITHOUT, FEWER):
        del graph[APPLY]
        graph[SAMPLER]["inputs"]["model"] = model
    elif way == BALANCED:
        graph[APPLY]["inputs"] = {"model": model}  # the default: nothing is set
    elif way == PUBLISHED:
        graph[APPLY]["inputs"] = {"model": model, "preset": "published"}
    else:
        graph[APPLY]["inputs"] = {"model": model, "policy": [POLICY, 0]}
        graph[POLICY] = {
            "class_type": "DiCachePolicy",
            "inputs": {**NOTHING_TYPED, "policy": "dicache", "target": "2x"},
        }
    return graph


def sampled(server: ComfyServer, graph: Graph, name: str, on_event: Callable[[Event], None] | None = None) -> Way:
    """Run ``graph`` and fetch its pictures.  Raises ``RuntimeError`` where the run or the pack in it failed."""
    run = server.run(graph, on_event)
    if run.error:
        raise RuntimeError(f"ComfyUI failed on {name}: {run.error['exception_message']}\n{server.log[-3000:]}")
    cells = _cells(run) if APPLY in graph else "c" * graph[SAMPLER]["inputs"]["steps"]
    return Way(name, cells, run.seconds(SAMPLER), _pictures(server, run))


def all_ways(
    server: ComfyServer, architecture: str, caption: str, show: Show, ways: tuple[str, ...], seed: int, on_event=None
) -> list[Way]:
    """One caption in each way, the first being what the others are compared with."""
    rounds = []
    for number in range(show.rounds):
        again = caption + " " * number  # means the same, and ComfyUI does not take it out of its cache
        graphs = [graph_for(architecture, again, show, way, seed) for way in ways]
        rounds.append([sampled(server, graph, way, on_event) for graph, way in zip(graphs, ways, strict=True)])
    done = [min(same, key=lambda way: way.seconds) for same in zip(*rounds, strict=True)]
    for way in done[1:]:
        way.psnr = _psnr(done[0].frames, way.frames)
    return done


def _cells(run: Run) -> str:
    events = run.data("dicache.step")
    if not events:
        raise RuntimeError("The pack sent no dicache.step event, so it did not take part in the run.")
    return events[-1]["cells"]


def _pictures(server: ComfyServer, run: Run) -> list[np.ndarray]:
    entries = run.outputs[SAVE]["images"]
    return [np.asarray(Image.open(io.BytesIO(server.image(entry))).convert("RGB")) for entry in entries]


def _psnr(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    one, other = np.stack(one), np.stack(other)
    same = np.array_equal(one, other)
    return SAME_PICTURE_PSNR if same else float(peak_signal_noise_ratio(one, other, data_range=255))
