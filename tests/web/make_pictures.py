"""Take the pictures of README and help pages: ``python3 tests/host/run.py --script tests/web/make_pictures.py``."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from chromium import find_browser  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from desk import LAUNCH, REPO, Desk  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from provision import provision  # noqa: E402

STRIP = REPO / "web" / "docs" / "strip.png"
LIVE_VIEW = REPO / "docs" / "live_view.png"
MARGIN = 24  # pixels around the graph


def take(browser: Browser, url: str) -> None:
    """Run the testbed's workflow and photograph it."""
    desk = Desk(browser, url, "nodes2", scale=2)
    desk.load("testbed_flux")
    desk.fit()
    desk.set_widget("KSampler", {"seed": 8})
    desk.run()
    desk.page.get_by_text(re.compile("256 . 256")).wait_for()  # the size under a picture comes when it is loaded
    desk.page.get_by_text("Job completed").wait_for(state="hidden")
    desk.page.mouse.move(400, 860)
    LIVE_VIEW.parent.mkdir(exist_ok=True)
    desk.page.screenshot(path=LIVE_VIEW, clip=_around_graph(desk))
    desk.page.evaluate("app.canvas.ds.scale = 1; app.canvas.setDirty(true, true)")
    desk.settle()
    desk.strip.first.locator(".strip").screenshot(path=STRIP)
    desk.close()


def _around_graph(desk: Desk) -> dict:
    """The rectangle on the screen that holds all nodes."""
    left, top, right, bottom = desk.page.evaluate(
        """() => {
            const { scale, offset } = app.canvas.ds;
            const boxes = app.graph.nodes.map((n) => n.boundingRect ?? n.getBounding());
            const [x, y] = [(value) => (value + offset[0]) * scale, (value) => (value + offset[1]) * scale];
            return [
                Math.min(...boxes.map((b) => x(b[0]))), Math.min(...boxes.map((b) => y(b[1]))),
                Math.max(...boxes.map((b) => x(b[0] + b[2]))), Math.max(...boxes.map((b) => y(b[1] + b[3]))),
            ];
        }"""
    )
    width, height = right - left + 2 * MARGIN, bottom - top + 2 * MARGIN
    return {"x": left - MARGIN, "y": top - MARGIN, "width": width, "height": height}


def main() -> None:
    with ComfyServer(provision()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
        take(browser, server.url)
        browser.close()


if __name__ == "__main__":
    main()
