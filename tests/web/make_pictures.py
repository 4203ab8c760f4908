"""Make the images of README, help, registry and template browser: ``make pictures``.

With ``--quick`` one template's card only, and all into output/quick.
"""

import argparse
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "host")]

from chromium import find_browser  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from desk import LAUNCH, REPO, Desk  # noqa: E402
from desk import WORKFLOWS as CARDS  # noqa: E402
from make_workflows import shown_by, write_card  # noqa: E402
from PIL import Image, ImageDraw, ImageFont  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from provision import running_host  # noqa: E402
from testbed.conditioning import SHAPES  # noqa: E402
from workflow_parts import EMOJI  # noqa: E402
from workflows import WORKFLOWS  # noqa: E402

STRIP = REPO / "web" / "docs" / "strip.png"
LIVE_VIEW = REPO / "docs" / "live_view.png"
BANNER = REPO / "docs" / "banner.png"
QUICK = REPO / "output" / "quick"
BANNER_SIZE = (1260, 540)  # the registry wants 21:9
STRIP_WIDTH = 680
PROMISE = "Speed up sampling by\nskipping model work\nthat barely changes\nthe image."
INK, FAINT, PAPER = (240, 240, 243), (190, 192, 200), (23, 23, 24)
MARGIN = 24  # pixels around the graph
CAPTION = "rocket on blue"
PAINT_EMOJI = """([model, caption, cfg]) => {
    const ofType = (type) => app.graph.nodes.filter((n) => n.type === type);
    const set = (node, name, to) => { node.widgets.find((w) => w.name === name).value = to; };
    const [loader] = ofType("UNETLoader");
    const testbed = LiteGraph.createNode("DiCacheTestbedModel");
    app.graph.add(testbed);
    testbed.pos = [...loader.pos];
    set(testbed, "architecture", model);
    for (const id of [...loader.outputs[0].links]) {
        const link = app.graph.links.get(id);
        testbed.connect(0, app.graph.getNodeById(link.target_id), link.target_slot);
    }
    app.graph.remove(loader);
    for (const node of [...ofType("DiCacheTestbedCaption"), ...ofType("DiCacheTestbedLatent")])
        set(node, "architecture", model);
    set(ofType("DiCacheTestbedCaption").find((n) => n.title === "Caption"), "text", caption);
    set(ofType("DiCacheTestbedDecode")[0], "unet_name", `${model}.safetensors`);
    set(ofType("KSampler")[0], "cfg", cfg);
    const [apply] = ofType("DiCacheApply");
    apply.setSize([apply.size[0], 300]); // its height without the advanced widgets
}"""


def take(browser: Browser, url: str, live_view: Path, strip: Path) -> None:
    """Run the testbed's workflow with the Flux that paints emoji, and photograph it."""
    desk = Desk(browser, url, "nodes2", scale=2)
    desk.load("testbed_flux")
    desk.page.evaluate(PAINT_EMOJI, [EMOJI, CAPTION, SHAPES[EMOJI].cfg])
    desk.fit()
    for seed in (7, 8):  # the first run pays for loading
        desk.set_widget("KSampler", {"seed": seed})
        desk.run()
    desk.page.get_by_text(re.compile("96 . 96")).wait_for()  # the size under an image comes when it is loaded
    toast = re.compile(r"[Jj]obs? (added|queued|completed)")
    desk.page.wait_for_timeout(1000)  # one for both runs comes after those of each
    desk.page.get_by_text(toast).first.wait_for(state="hidden")
    desk.page.mouse.move(400, 860)
    desk.page.screenshot(path=live_view, clip=_around_graph(desk))
    desk.page.evaluate("app.canvas.ds.scale = 1; app.canvas.setDirty(true, true)")
    desk.settle()
    desk.strip.first.locator(".strip").screenshot(path=strip)
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


def make_banner(photograph: Path, target: Path) -> None:
    """Name, promise and the strip of a real run."""
    banner = Image.new("RGB", BANNER_SIZE, PAPER)
    draw = ImageDraw.Draw(banner)
    with Image.open(REPO / "docs" / "icon.png") as icon, Image.open(photograph) as strip:
        small = icon.convert("RGBA").resize((120, 120), Image.Resampling.LANCZOS)
        scale = min(STRIP_WIDTH / strip.width, (BANNER_SIZE[1] - 80) / strip.height)
        width, height = round(strip.width * scale), round(strip.height * scale)
        shown = strip.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    banner.paste(small, (48, 96), small)
    draw.text((188, 112), "DiCache", INK, ImageFont.load_default(80))
    draw.text((48, 252), PROMISE, FAINT, ImageFont.load_default(36), spacing=16)
    banner.paste(shown, (BANNER_SIZE[0] - width - 40, (BANNER_SIZE[1] - height) // 2))
    banner.save(target, optimize=True)


def quick_file(name: str) -> Path:
    QUICK.mkdir(parents=True, exist_ok=True)
    return QUICK / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one card only, and all into output/quick")
    quick = parser.parse_args().quick
    if (browser_path := find_browser()) is None:
        raise SystemExit("No browser was found: `make browser` says how to get one.")
    live_view, strip, banner = (quick_file(path.name) if quick else path for path in (LIVE_VIEW, STRIP, BANNER))
    chosen = {name: build() for name, build in list(WORKFLOWS.items())[: 1 if quick else None]}
    cards = {name: quick_file(f"{name}.jpg") if quick else CARDS / f"{name}.jpg" for name in chosen}
    with ComfyServer(running_host()) as server:
        shown = shown_by(server, chosen)  # before the browser: Playwright keeps the thread's event loop to itself
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=LAUNCH)
            take(browser, server.url, live_view, strip)
            desk = Desk(browser, server.url, "nodes2", scale=3)
            for name, specification in chosen.items():
                write_card(desk, cards[name], specification, shown[name])
            browser.close()
    make_banner(strip, banner)
    for path in (live_view, strip, banner, *cards.values()):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
