"""Write ``example_workflows/`` anew: ``python3 tests/host/run.py --script tests/web/make_workflows.py [name ...]``.

Each graph is built in a real front end from its specification and saved as the front end saves it; widgets of the
pack's nodes get what their schemas say.  Beside it goes the image that ComfyUI's template browser shows:
a real run of the testbed's small model with the template's settings (``thumbnails.py``).  Files that are no
template any more are removed where all are written.  Needed after an input of a node changed.
"""

import json
import sys
import uuid
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from chromium import find_browser  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from desk import LAUNCH, TESTBED_FOLDER, WORKFLOWS, Desk  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from provision import provision  # noqa: E402
from thumbnails import Shown, as_jpeg, card, show  # noqa: E402
from workflow_parts import Workflow  # noqa: E402
from workflows import TESTBED  # noqa: E402
from workflows import WORKFLOWS as SPECIFICATIONS  # noqa: E402


def build(desk: Desk, name: str, specification: Workflow) -> dict:
    """The workflow as the front end serialises it, without what differs from one machine to the next."""
    desk.page.evaluate((HERE / "graph.js").read_text(encoding="utf-8"), asdict(specification))
    # As text: what is undefined is not in a saved file, but would come through `evaluate` as null.
    workflow = json.loads(desk.page.evaluate("JSON.stringify(app.graph.serialize())"))
    workflow["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"https://github.com/comfyui-dicache/{name}"))
    workflow["extra"] = {}
    for node in workflow["nodes"]:
        for gone in ("ver", "cnr_id", "aux_id"):
            node["properties"].pop(gone, None)
    return workflow


def as_text(desk: Desk, name: str, specification: Workflow) -> str:
    return json.dumps(build(desk, name, specification), indent=1, ensure_ascii=False) + "\n"


def main(names: list[str]) -> None:
    """Write the named templates, or all."""
    known = {**SPECIFICATIONS, **TESTBED}
    specifications = {name: known[name]() for name in names or known}
    WORKFLOWS.mkdir(exist_ok=True)
    if not names:
        for old in [path for path in WORKFLOWS.iterdir() if path.stem not in SPECIFICATIONS]:
            old.unlink()
    with ComfyServer(provision()) as server:
        # Before the browser: Playwright keeps the thread's event loop to itself.
        shown = shown_by(server, specifications)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
            desk = Desk(browser, server.url, "nodes2", scale=3)
            for name, specification in specifications.items():
                desk.clear()
                folder = TESTBED_FOLDER if name in TESTBED else WORKFLOWS
                text = as_text(desk, name, specification)
                (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
                if name in shown:
                    write_card(desk, folder / f"{name}.jpg", specification, shown[name])
                print(name, flush=True)
            browser.close()


def shown_by(server: ComfyServer, specifications: dict[str, Workflow]) -> dict[str, Shown]:
    """What the card of each template shows; the testbed's workflow is no template."""
    places = {name: place for place, name in enumerate(SPECIFICATIONS)}
    return {name: show(server, specifications[name], places[name]) for name in specifications if name in places}


def write_card(desk: Desk, path: Path, specification: Workflow, shown: Shown) -> None:
    path.write_bytes(as_jpeg(card(desk, specification, shown)))


if __name__ == "__main__":
    main(sys.argv[1:])
