"""A caption of the testbed sampled in several ways by a ComfyUI server: graphs, images and what the pack said."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from comfy_server import ComfyServer, Event, Graph, Run
from demo_graph import APPLY, LATENT, SAMPLER, SAVE, demo_graph
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

SAME_IMAGE_PSNR = 100.0  # written for two equal images, whose PSNR is infinite
WITHOUT, FEWER, PUBLISHED, BALANCED = "without", "fewer steps", "published", "balanced"
EASYCACHE, PAPER_AT_2X = "EasyCache", "paper at 2x"
AT_THE_SAME_COUNT = (WITHOUT, FEWER, EASYCACHE, PAPER_AT_2X, BALANCED)  # all but the first compute half of the steps
POLICY, OWN_INPUT = "policy", "own input"  # ids of nodes that the demo's graph does not have
EASYCACHE_SKIPPED = re.compile(r"EasyCache - skipped (\d+)/(\d+) steps")  # in the server's log
NOTHING_TYPED = {"threshold": -1.0, "warmup_steps": -1}  # inputs that its schema requires


@dataclass(frozen=True)
class Show:
    """What is sampled of one architecture, ``batch`` images at a time; of ``rounds`` of it the fastest counts.

    ``ways`` are those of AT_THE_SAME_COUNT and PUBLISHED, WITHOUT first.  ``edge`` is that of an image in pixels, 0 for
    what the checkpoint was trained on.  ``reuse_threshold`` is EasyCache's, at which it computes half of the steps.
    """

    captions: tuple[str, ...]
    ways: tuple[str, ...] = (WITHOUT, PUBLISHED, BALANCED)
    cfg: float = 1.0
    scheduler: str = "simple"
    steps: int = 30
    rounds: int = 1
    batch: int = 1
    edge: int = 0
    reuse_threshold: float = 0.2


@dataclass
class Way:
    """One run.

    Attributes:
        computed, skipped: steps.
        cells: one letter per step, from the pack's last event: w warm-up, c computed, r skipped, l last.  Empty where
            the pack took no part.
        seconds: of the KSampler node.
        psnr: of the frames against those of the run without DiCache, in decibels.
        frames: each (H, W, 3) uint8.
    """

    name: str
    computed: int
    skipped: int
    seconds: float
    frames: list[np.ndarray] = field(repr=False)
    cells: str = ""
    psnr: float | None = None


def steps_of(show: Show, way: str) -> int:
    """How many the sampler is asked for."""
    return show.steps // 2 if way == FEWER else show.steps


def graph_for(architecture: str, caption: str, show: Show, way: str, seed: int) -> Graph:
    """The demo's workflow in ComfyUI's API format, as a user would change it for ``way``."""
    graph = demo_graph(
        caption, architecture, seed=seed, steps=steps_of(show, way), cfg=show.cfg, scheduler=show.scheduler
    )
    graph[LATENT]["inputs"]["batch_size"] = show.batch
    if show.edge:
        size = {"width": show.edge, "height": show.edge, "batch_size": show.batch}
        graph[LATENT] = {"class_type": "EmptySD3LatentImage", "inputs": size}  # 16 channels, as the testbed's
    graph[SAVE]["inputs"]["filename_prefix"] = f"{architecture}-{way.replace(' ', '_')}"
    model = graph[APPLY]["inputs"]["model"]
    if way in (WITHOUT, FEWER):
        del graph[APPLY]
        graph[SAMPLER]["inputs"]["model"] = model
    elif way == EASYCACHE:
        # In float32 EasyCache adds to the sampler's own latent, which half precision keeps from it: it gets a copy.
        graph[OWN_INPUT] = {"class_type": "DiCacheTestbedOwnInput", "inputs": {"model": model}}
        widgets = {
            "reuse_threshold": show.reuse_threshold,
            "start_percent": 0.15,
            "end_percent": 0.95,
            "verbose": False,
        }
        graph[APPLY] = {"class_type": "EasyCache", "inputs": {"model": [OWN_INPUT, 0], **widgets}}
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
    """Run ``graph`` and fetch its images.  Raises ``RuntimeError`` where the run or the pack in it failed."""
    run = server.run(graph, on_event)
    if run.error:
        raise RuntimeError(f"ComfyUI failed on {name}: {run.error['exception_message']}\n{server.log[-3000:]}")
    steps, cells = graph[SAMPLER]["inputs"]["steps"], ""
    if APPLY not in graph:
        skipped = 0
    elif graph[APPLY]["class_type"] == "EasyCache":
        skipped = int(EASYCACHE_SKIPPED.findall(server.log)[-1][0])
    else:
        cells = _cells(run)
        skipped = cells.count("r")
    return Way(name, steps - skipped, skipped, run.seconds(SAMPLER), _images(server, run), cells)


def all_ways(server: ComfyServer, architecture: str, caption: str, show: Show, seed: int, on_event=None) -> list[Way]:
    """One caption in each way of ``show``, the first being what the others are compared with."""
    rounds = []
    for number in range(show.rounds):
        again = caption + " " * number  # means the same, and ComfyUI does not take it out of its cache
        graphs = [graph_for(architecture, again, show, way, seed) for way in show.ways]
        rounds.append([sampled(server, graph, way, on_event) for graph, way in zip(graphs, show.ways, strict=True)])
    done = [min(same, key=lambda way: way.seconds) for same in zip(*rounds, strict=True)]
    for way in done[1:]:
        way.psnr = _psnr(done[0].frames, way.frames)
    return done


def _cells(run: Run) -> str:
    events = run.data("dicache.step")
    if not events:
        raise RuntimeError("The pack sent no dicache.step event, so it did not take part in the run.")
    return events[-1]["cells"]


def _images(server: ComfyServer, run: Run) -> list[np.ndarray]:
    entries = run.outputs[SAVE]["images"]
    return [np.asarray(Image.open(io.BytesIO(server.image(entry))).convert("RGB")) for entry in entries]


def _psnr(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    one, other = np.stack(one), np.stack(other)
    same = np.array_equal(one, other)
    return SAME_IMAGE_PSNR if same else float(peak_signal_noise_ratio(one, other, data_range=255))
