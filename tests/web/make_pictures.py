"""Make the pictures of README, help and registry: ``python3 tests/host/run.py --script tests/web/make_pictures.py``.

With ``banner`` behind it only the registry's banner is made again, from the photograph of the strip that is there.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from chromium import find_browser  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from desk import LAUNCH, REPO, Desk  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from provision import provision  # noqa: E402

STRIP = REPO / "web" / "docs" / "strip.png"
LIVE_VIEW = REPO / "docs" / "live_view.png"
BANNER = REPO / "docs" / "banner.png"
BANNER_SIZE = (1260, 540)  # the registry wants 21:9
STRIP_WIDTH = 680
PROMISE = "Diffusion models\nsample faster by\nskipping the work\nthey do not need."
INK, FAINT, PAPER = (240, 240, 243), (190, 192, 200), (23, 23, 24)
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


def make_banner() -> None:
    """Name, promise and the strip of a real run."""
    banner = Image.new("RGB", BANNER_SIZE, PAPER)
    draw = ImageDraw.Draw(banner)
    with Image.open(REPO / "docs" / "icon.png") as icon, Image.open(STRIP) as strip:
        small = icon.convert("RGBA").resize((120, 120), Image.Resampling.LANCZOS)
        height = round(strip.height * STRIP_WIDTH / strip.width)
        shown = strip.convert("RGB").resize((STRIP_WIDTH, height), Image.Resampling.LANCZOS)
    banner.paste(small, (48, 96), small)
    draw.text((188, 112), "DiCache", INK, ImageFont.load_default(80))
    draw.text((48, 252), PROMISE, FAINT, ImageFont.load_default(36), spacing=16)
    banner.paste(shown, (BANNER_SIZE[0] - STRIP_WIDTH - 40, (BANNER_SIZE[1] - height) // 2))
    banner.save(BANNER, optimize=True)


def main() -> None:
    if sys.argv[1:] != ["banner"]:
        photograph()
    make_banner()


def photograph() -> None:
    with ComfyServer(provision()) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
        take(browser, server.url)
        browser.close()


if __name__ == "__main__":
    main()
