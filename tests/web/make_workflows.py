"""Write ``example_workflows/`` anew: ``python3 tests/host/run.py --script tests/web/make_workflows.py [name ...]``.

Each graph is built in a real front end from its specification in ``workflows.py`` and saved as the front end saves it,
with a picture of it beside it, which ComfyUI's template browser shows.  Needed after an input of a node changed.
"""

import io
import json
import shutil
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from chromium import find_browser  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from desk import LAUNCH, WORKFLOWS, Desk  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from provision import provision  # noqa: E402
from workflows import WORKFLOWS as SPECIFICATIONS  # noqa: E402

THUMBNAIL = 480  # pixels square, the shape of the template browser's cards
TITLES = {
    "flux1_dev": "Flux.1 dev",
    "flux1_dev_compare": "Flux.1 dev: compare",
    "flux1_kontext": "Flux Kontext",
    "hunyuan_video_t2v": "HunyuanVideo T2V",
    "wan21_t2v": "Wan 2.1 T2V",
    "wan22_t2v_two_experts": "Wan 2.2 T2V",
    "testbed_flux": "Testbed, no GPU",
}


def build(desk: Desk, name: str) -> dict:
    """The workflow ``name`` as the front end serialises it, without what differs from one machine to the next."""
    columns = [[asdict(node) for node in column] for column in SPECIFICATIONS[name]()]
    desk.page.evaluate((HERE / "graph.js").read_text(encoding="utf-8"), {"columns": columns})
    workflow = desk.page.evaluate("app.graph.serialize()")
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://github.com/comfyui-dicache/{name}"))
    workflow["extra"] = {}
    for node in workflow["nodes"]:
        for gone in ("ver", "cnr_id", "aux_id"):
            node["properties"].pop(gone, None)
    return workflow


def pretend_files(server: ComfyServer, workflow: dict) -> None:
    """Empty files in the place of the models, so that the picture has no complaints about missing ones."""
    shutil.copy(Path(server.host.comfy) / "input" / "example.png", server.base / "input")
    for node in workflow["nodes"]:
        for file in node["properties"].get("models", []):
            # "unet" is ComfyUI's other folder of diffusion models; the first one is the testbed's own.
            folder = server.base / "models" / file["directory"].replace("diffusion_models", "unet")
            folder.mkdir(exist_ok=True)
            (folder / file["name"]).touch()


def picture(desk: Desk, title: str) -> bytes:
    """JPEG of the pack's node and its neighbours under a title."""
    x, y, width, height = desk.page.evaluate(
        """() => {
            const ofType = (type) => app.graph.nodes.find((n) => n.type === type);
            const node = ofType("DiCacheCompare") ?? ofType("DiCacheApply");
            const scale = app.canvas.ds.scale = Math.min(1, 470 / node.size[1]);
            app.canvas.ds.offset[0] = 750 / scale - node.pos[0] - node.size[0] / 2;
            app.canvas.ds.offset[1] = 490 / scale - node.pos[1] - node.size[1] / 2;
            app.canvas.setDirty(true, true);
            return [430, 140, 640, 640];
        }"""
    )
    desk.settle()
    desk.page.mouse.move(300, 880)
    shot = desk.page.screenshot(clip={"x": x, "y": y, "width": width, "height": height})
    with Image.open(io.BytesIO(shot)) as image:
        small = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    draw.rectangle((0, 0, THUMBNAIL, 54), fill=(16, 16, 18))
    draw.text((18, 12), title, (236, 236, 240), ImageFont.load_default(28))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85, optimize=True)
    return buffer.getvalue()


def main(names: list[str]) -> None:
    WORKFLOWS.mkdir(exist_ok=True)
    with ComfyServer(provision()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
        for name in names or SPECIFICATIONS:
            make(server, browser, name)
        browser.close()


def make(server: ComfyServer, browser: Browser, name: str) -> None:
    """Write the JSON and the picture of one workflow."""
    desk = Desk(browser, server.url, "nodes2")
    workflow = build(desk, name)
    desk.close()
    text = json.dumps(workflow, indent=1, ensure_ascii=False) + "\n"
    (WORKFLOWS / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
    pretend_files(server, workflow)
    desk = Desk(browser, server.url, "nodes2")
    desk.load(name)
    if name.startswith("testbed"):
        desk.run()
    (WORKFLOWS / f"{name}.jpg").write_bytes(picture(desk, TITLES[name]))
    desk.close()
    print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
