"""The images of the template browser's cards: each shows a run of a testbed's model with the template's own settings.

Sampler, schedule, number of steps, method and experts are the template's.  The model is a tiny one of the template's
family where the testbed has one, else the Flux that paints emoji; the card names it.
"""

import io
from dataclasses import dataclass, field

from comfy_server import ComfyServer, Graph, Run
from demo_graph import APPLY, CAPTION, DECODE, LATENT, LOADER, NEGATIVE, SAMPLER, SAVE, demo_graph
from desk import Desk
from PIL import Image, ImageDraw, ImageFont
from testbed.conditioning import SHAPES, captions_of
from workflow_parts import EMOJI, Node, Workflow

SIDE = 480  # pixels square, the shape of the browser's cards, which show it at about half of that
HEADER = 64, 200  # pixels from the top; above the first the newest front end lays a badge into the left corner
EDGE, PAINTED = 16, 120
INK, FAINT, PAPER = (240, 240, 243), (190, 192, 200), (23, 23, 24)
NODE_WIDTHS = {1: 270, 2: 200}  # by the number of strips, which stand side by side; the first is a new node's
NAMES = {
    EMOJI: "a tiny Flux", "wan": "a tiny Wan", "hunyuan_video": "a tiny HunyuanVideo",
    "qwen_image": "a tiny Qwen-Image", "z_image": "a tiny Z-Image", "unet": "a tiny U-Net",
}  # fmt: skip
SETTINGS = ("sampler_name", "scheduler", "steps")
BEGINS = {"target": "", "threshold": -1.0, "warmup_steps": -1, "mask": "", "interval": -1}  # a new DiCache Policy
SECOND_APPLY, SECOND_SAMPLER, VAE, MEASURE, POLICY = "102", "106", "109", "110", "111"
ONLY_THE_STRIP = """([event, width]) => {
    const node = LiteGraph.createNode("DiCacheApply");
    app.graph.add(node);
    node.widgets.filter((w) => w.type !== "DICACHE_STRIP").forEach((w) => node.removeWidget(w));
    node.inputs.length = 1;
    node.outputs.length = 1;
    node.pos = [400, 300];
    node.setSize([width, node.computeSize()[1]]);
    const detail = { ...event, node: String(node.id), workflow: null };
    app.api.dispatchEvent(new CustomEvent("dicache.step", { detail }));
}"""


@dataclass(frozen=True)
class Shown:
    """What a card shows: images that a node made, or the last event of each strip, and what the model painted."""

    note: str
    events: list[dict] = field(default_factory=list)
    made: bytes = b""
    painted: bytes = b""


def nodes(specification: Workflow) -> list[Node]:
    return [node for column in specification.columns for node in column]


def of_type(specification: Workflow, node_type: str) -> list[Node]:
    return [node for node in nodes(specification) if node.type == node_type]


def sampling(specification: Workflow) -> dict[str, object]:
    """The template's sampler, schedule and number of steps; a schedule that only its model has is a plain one here."""
    found = {"sampler_name": "euler", "scheduler": "simple"}
    for node in nodes(specification):
        found |= {key: node.widgets[key] for key in SETTINGS if key in node.widgets}
    return found


def show(server: ComfyServer, specification: Workflow, seed: int) -> Shown:
    """Run the testbed's model as the template runs its own."""
    model, settings = specification.testbed, sampling(specification)
    captions = captions_of(model)
    # The LoRAs of few steps are sampled without guidance; else each model gets what it was trained for.
    cfg = 1.0 if of_type(specification, "LoraLoaderModelOnly") else SHAPES[model].cfg
    graph = demo_graph(captions[seed % len(captions)], model, seed=seed, cfg=cfg, **settings)
    note = f"{NAMES[model]}, {settings['steps']} steps"
    if measuring := [*of_type(specification, "DiCacheCompare"), *of_type(specification, "DiCacheTuning")]:
        return Shown(note, made=_last_image(server, run(server, _measuring(graph, measuring[0].type)), MEASURE))
    two = len(of_type(specification, "DiCacheApply")) > 1
    if two:
        graph = _two_experts(graph, settings["steps"] // 2)
    if of_type(specification, "DiCachePolicy"):
        graph = _calibrated(graph, of_type(specification, "DiCachePolicy")[0].widgets)
    ran = run(server, graph)
    last = {event["node"]: event for event in ran.data("dicache.step")}
    events = [last[name] for name in ([APPLY, SECOND_APPLY] if two else [APPLY])]
    painted = _last_image(server, ran, SAVE) if model == EMOJI else b""
    return Shown(f"{note}, {settings['sampler_name']}", events=events, painted=painted)


def run(server: ComfyServer, graph: Graph) -> Run:
    """The second run of a graph, as the first pays for loading."""
    for added in (1000, -1000):
        for inputs in (node["inputs"] for node in graph.values()):
            for name in {"seed", "noise_seed"} & set(inputs):
                inputs[name] += added
        ran = server.run(graph)
        assert ran.error is None, ran.error
    return ran


def _measuring(graph: Graph, node_type: str) -> Graph:
    """Compare or Tune in the sampler's place."""
    model = [LOADER, 0]
    own = {"settings": "published, balanced"} if node_type == "DiCacheCompare" else {
        "want": "similar", "speed": 2.0, "action": "tune"
    }  # fmt: skip
    inputs = {**graph[SAMPLER]["inputs"], "model": model, "vae": [VAE, 0], **own}
    checkpoint = graph[DECODE]["inputs"]["unet_name"]
    kept = {name: graph[name] for name in (LOADER, CAPTION, NEGATIVE, LATENT)}
    return {
        **kept,
        VAE: {"class_type": "DiCacheTestbedVAE", "inputs": {"model": model, "unet_name": checkpoint}},
        MEASURE: {"class_type": node_type, "inputs": inputs},
    }


def _two_experts(graph: Graph, half: int) -> Graph:
    """The schedule in two halves, each with an Apply of its own, as Wan 2.2's two models have it."""
    inputs = dict(graph[SAMPLER]["inputs"])
    seed = inputs.pop("seed")
    del inputs["denoise"]
    first = {
        **inputs, "add_noise": "enable", "noise_seed": seed, "start_at_step": 0, "end_at_step": half,
        "return_with_leftover_noise": "enable",
    }  # fmt: skip
    second = {
        **inputs, "model": [SECOND_APPLY, 0], "latent_image": [SAMPLER, 0], "add_noise": "disable", "noise_seed": seed,
        "start_at_step": half, "end_at_step": 10000, "return_with_leftover_noise": "disable",
    }  # fmt: skip
    decode = {**graph[DECODE], "inputs": {**graph[DECODE]["inputs"], "samples": [SECOND_SAMPLER, 0]}}
    return {
        **graph,
        SAMPLER: {"class_type": "KSamplerAdvanced", "inputs": first},
        SECOND_APPLY: graph[APPLY],
        SECOND_SAMPLER: {"class_type": "KSamplerAdvanced", "inputs": second},
        DECODE: decode,
    }


def _calibrated(graph: Graph, policy: dict) -> Graph:
    """With the policy that the template's node chooses, and the calibration that it needs."""
    inputs = {**graph[SAMPLER]["inputs"], "model": [LOADER, 0], "name": "thumbnail"}
    apply = {**graph[APPLY], "inputs": {**graph[APPLY]["inputs"], "policy": [POLICY, 0]}}
    return {
        **graph,
        MEASURE: {"class_type": "DiCacheCalibrate", "inputs": inputs},
        POLICY: {"class_type": "DiCachePolicy", "inputs": {**BEGINS, **policy, "curve": [MEASURE, 0]}},
        APPLY: apply,
    }


def _last_image(server: ComfyServer, ran: Run, node: str) -> bytes:
    return server.image(ran.outputs[node]["images"][-1])


# Drawing --------------------------------------------------------------------------------------------------------------


def strip_image(desk: Desk, event: dict, width: int) -> Image.Image:
    """The strip after the run that ``event`` tells of, on a node so wide."""
    desk.clear()
    desk.page.evaluate(ONLY_THE_STRIP, [event, width])
    desk.settle()
    desk.page.mouse.move(900, 800)
    return opened(desk.strip.first.locator(".strip").screenshot())


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


def card(desk: Desk, specification: Workflow, shown: Shown) -> Image.Image:
    """Name and task below the badge's corner, what the model painted beside it, and the strips or a sheet."""
    small = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(small)
    top, below = HEADER
    room = SIDE - 2 * EDGE
    beside = room - PAINTED - EDGE if shown.painted else room
    draw.text((EDGE, top), specification.title, INK, fitting(specification.title, 46, beside))
    draw.text((EDGE, top + 58), specification.task, FAINT, fitting(specification.task, 30, beside))
    draw.text((EDGE, top + 100), shown.note, FAINT, fitting(shown.note, 22, room))
    if shown.painted:
        painted = opened(shown.painted).resize((PAINTED, PAINTED), Image.Resampling.LANCZOS)
        small.paste(painted, (SIDE - EDGE - PAINTED, EDGE))
    width = NODE_WIDTHS[max(1, len(shown.events))]
    parts = [strip_image(desk, event, width) for event in shown.events] or [opened(shown.made)]
    place = (room - EDGE * (len(parts) - 1)) // len(parts)
    for number, part in enumerate(parts):
        scale = min(place / part.width, (SIDE - EDGE - below) / part.height)
        size = round(part.width * scale), round(part.height * scale)
        left = EDGE + number * (place + EDGE) + (place - size[0]) // 2
        small.paste(part.resize(size, Image.Resampling.LANCZOS), (left, below))
    return small


def fitting(text: str, most: int, width: int) -> ImageFont.FreeTypeFont:
    """The largest font in which ``text`` is no wider than ``width``."""
    sizes = range(most, 12, -1)
    return ImageFont.load_default(next(n for n in sizes if ImageFont.load_default(n).getlength(text) <= width))


def as_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, optimize=True)
    return buffer.getvalue()
