"""Write ``example_workflows/`` anew: ``python3 tests/host/run.py --script tests/web/make_workflows.py [name ...]``.

Each graph is built in a real front end from its specification in ``workflows.py`` and saved as the front end saves it,
with a picture of it beside it, which ComfyUI's template browser shows.  Needed after an input of a node changed.
"""

import io
import json
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from comfy_server import ComfyServer  # noqa: E402
from conftest import find_browser  # noqa: E402
from desk import LAUNCH, WORKFLOWS as FOLDER, Desk  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from provision import provision  # noqa: E402
from workflows import WORKFLOWS  # noqa: E402

THUMBNAIL = (640, 400)


def build(desk: Desk, name: str) -> dict:
    """The workflow ``name`` as the front end serialises it, without what differs from one machine to the next."""
    columns = [[asdict(node) for node in column] for column in WORKFLOWS[name]()]
    desk.page.evaluate((HERE / "graph.js").read_text(encoding="utf-8"), {"columns": columns})
    workflow = desk.page.evaluate("app.graph.serialize()")
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://github.com/comfyui-dicache/{name}"))
    workflow["extra"] = {}
    for node in workflow["nodes"]:
        for gone in ("ver", "cnr_id", "aux_id"):
            node["properties"].pop(gone, None)
    return workflow


def picture(desk: Desk) -> bytes:
    """JPEG of the graph on the screen."""
    desk.fit()
    desk.settle()
    with Image.open(io.BytesIO(desk.page.screenshot(clip={"x": 60, "y": 44, "width": 1380, "height": 856}))) as shot:
        small = shot.convert("RGB").resize(THUMBNAIL, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=82, optimize=True)
    return buffer.getvalue()


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    with ComfyServer(provision()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
        desk = Desk(browser, server.url, "nodes2")
        for name in names or WORKFLOWS:
            text = json.dumps(build(desk, name), indent=1, ensure_ascii=False) + "\n"
            (FOLDER / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
            desk.drop(f"{name}.json", text)
            if name.startswith("testbed"):
                desk.run()
            (FOLDER / f"{name}.jpg").write_bytes(picture(desk))
            print(name)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
