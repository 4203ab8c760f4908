"""Write ``example_workflows/`` anew: ``python3 tests/host/run.py --script tests/web/make_workflows.py [name ...]``.

Each graph is built in a real front end from its specification and saved as the front end saves it; widgets of the
pack's nodes get what their schemas say.  Beside it goes the picture that ComfyUI's template browser shows:
the strip of a finished run, which is a real run of the testbed's small model with the template's number of steps.
Needed after an input of a node changed.
"""

import io
import json
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from chromium import find_browser  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from demo_graph import demo_graph  # noqa: E402
from desk import LAUNCH, TESTBED_FOLDER, WORKFLOWS, Desk  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from provision import provision  # noqa: E402
from testbed.captions import CAPTIONS  # noqa: E402
from testbed.conditioning import SHAPES  # noqa: E402
from workflow_parts import Workflow  # noqa: E402
from workflows import TESTBED  # noqa: E402
from workflows import WORKFLOWS as SPECIFICATIONS  # noqa: E402

THUMBNAIL = 480  # pixels square, the shape of the template browser's cards, which show it at about half of that
INK, FAINT, PAPER = (240, 240, 243), (190, 192, 200), (23, 23, 24)
NODE_WIDTH = 232  # narrow, so that the letters on it are large in the picture
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


def build(desk: Desk, name: str, specification: Workflow) -> dict:
    """The workflow as the front end serialises it, without what differs from one machine to the next."""
    desk.page.evaluate((HERE / "graph.js").read_text(encoding="utf-8"), asdict(specification))
    workflow = desk.page.evaluate("app.graph.serialize()")
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://github.com/comfyui-dicache/{name}"))
    workflow["extra"] = {}
    for node in workflow["nodes"]:
        for gone in ("ver", "cnr_id", "aux_id"):
            node["properties"].pop(gone, None)
    return workflow


def steps_of(specification: Workflow) -> int:
    """The steps that the graph samples with."""
    nodes = [node for column in specification.columns for node in column]
    return next(node.widgets["steps"] for node in reversed(nodes) if "steps" in node.widgets)


def last_event(server: ComfyServer, testbed: str, steps: int) -> dict:
    """What the strip is told at the end of a run of a model of the testbed."""
    cfg = SHAPES[testbed].cfg
    server.run(demo_graph(CAPTIONS[0], testbed, seed=0, steps=2, cfg=cfg))  # pays for loading
    return server.run(demo_graph(CAPTIONS[0], testbed, seed=1, steps=steps, cfg=cfg)).data("dicache.step")[-1]


def strip_picture(desk: Desk, event: dict) -> Image.Image:
    """The strip after the run that ``event`` tells of."""
    desk.clear()
    desk.page.evaluate(ONLY_THE_STRIP, [event, NODE_WIDTH])
    desk.settle()
    desk.page.mouse.move(900, 800)
    with Image.open(io.BytesIO(desk.strip.first.locator(".strip").screenshot())) as shot:
        return shot.convert("RGB")


def thumbnail(specification: Workflow, strip: Image.Image) -> bytes:
    """JPEG of a title, a task and the strip."""
    small = Image.new("RGB", (THUMBNAIL, THUMBNAIL), PAPER)
    draw = ImageDraw.Draw(small)
    size = next(
        n for n in range(60, 20, -1) if ImageFont.load_default(n).getlength(specification.title) < THUMBNAIL - 48
    )
    draw.text((24, 22), specification.title, INK, ImageFont.load_default(size))
    draw.text((24, 96), specification.task, FAINT, ImageFont.load_default(32))
    note, small_font = "run of the testbed's model", ImageFont.load_default(20)
    draw.text((THUMBNAIL - 24 - small_font.getlength(note), 150), note, FAINT, small_font)
    size = (THUMBNAIL - 16, round(strip.height * (THUMBNAIL - 16) / strip.width))
    small.paste(strip.resize(size, Image.Resampling.LANCZOS), (8, THUMBNAIL - 8 - size[1]))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, optimize=True)
    return buffer.getvalue()


def main(names: list[str]) -> None:
    known = {**SPECIFICATIONS, **TESTBED}
    specifications = {name: known[name]() for name in names or known}
    WORKFLOWS.mkdir(exist_ok=True)
    with ComfyServer(provision()) as server:
        # Before the browser: Playwright keeps the thread's event loop to itself.
        runs = dict.fromkeys((s.testbed, steps_of(s)) for s in specifications.values())
        events = {run: last_event(server, *run) for run in runs}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
            desk = Desk(browser, server.url, "nodes2", scale=3)
            for name, specification in specifications.items():
                make(desk, name, specification, events)
                print(name, flush=True)
            browser.close()


def make(desk: Desk, name: str, specification: Workflow, events: dict[tuple[str, int], dict]) -> None:
    """Write the JSON and the picture of one workflow; the testbed's needs no picture."""
    folder = TESTBED_FOLDER if name in TESTBED else WORKFLOWS
    desk.clear()
    text = json.dumps(build(desk, name, specification), indent=1, ensure_ascii=False) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
    if name in SPECIFICATIONS:
        strip = strip_picture(desk, events[specification.testbed, steps_of(specification)])
        (folder / f"{name}.jpg").write_bytes(thumbnail(specification, strip))


if __name__ == "__main__":
    main(sys.argv[1:])
