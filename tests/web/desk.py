"""A user's desk: one browser page with ComfyUI's real front end, and what a user does there."""

import json
import re
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Locator, expect

REPO = Path(__file__).resolve().parents[2]
ARTEFACTS = REPO / "output" / "web"
WORKFLOWS = REPO / "example_workflows"
TESTBED_FOLDER = REPO / "tools" / "demo" / "workflows"  # the testbed's graph needs nodes that the pack does not bring

LAUNCH = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RENDERERS = {"classic": False, "nodes2": True}
QUIET = {
    "Comfy.TutorialCompleted": True,  # no template browser at the start
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Workflow.WarnBlueprintOverwrite": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Locale": "en",
    "Comfy.ColorPalette": "dark",
}
READY = """
    window.app?.vueAppReady && !!LiteGraph.registered_node_types.DiCacheApply
    && app.graph.nodes.length > 0  // the front end begins with its default graph, or the last one after a reload
    && !document.querySelector(".p-blockui-mask")
"""
PATIENCE = 60_000  # milliseconds; a busy machine with two cores is slow, a broken page is slower


class Desk:
    """``Desk(browser, server_url, "classic")``: a page that is ready to be used."""

    def __init__(self, browser: Browser, url: str, renderer: str, settings: dict | None = None, scale: int = 1) -> None:
        self.url, self.renderer = url, renderer
        self.settings = {**QUIET, "Comfy.VueNodes.Enabled": RENDERERS[renderer], **(settings or {})}
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, device_scale_factor=scale)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}\n{error.stack or ''}"))
        self.open()

    def open(self) -> None:
        """Load the page, or load it again, and wait until nodes can be made."""
        post(f"{self.url}/api/settings", self.settings)  # they are the server's, and other pages write them too
        self.page.goto(self.url)
        self.page.wait_for_function(READY)
        self.version = self.page.evaluate("window.__COMFYUI_FRONTEND_VERSION__")

    def clear(self) -> None:
        """A new tab with nothing in it, and nothing left of what was said before."""
        self.complaints.clear()
        self.page.mouse.move(700, 600)  # off the tabs, whose preview would lie over the Run button
        self.set_setting("Comfy.RightSidePanel.IsOpen", False)
        self.page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
        self.page.wait_for_function("app.graph.nodes.length === 0")
        self.page.evaluate("app.canvas.ds.reset(); app.canvas.setDirty(true, true)")
        self.settle()

    def set_setting(self, name: str, value: object) -> None:
        self.page.evaluate("([name, value]) => app.extensionManager.setting.set(name, value)", [name, value])

    def close(self) -> None:
        self.context.close()

    def object_info(self, node_type: str) -> dict:
        """What the server says about a node."""
        return self.page.evaluate(
            "async (type) => (await (await app.api.fetchApi(`/object_info/${type}`)).json())[type]", node_type
        )

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    @property
    def complaints_about_pack(self) -> list[str]:
        """Warnings and errors that name the pack, and every exception nobody caught."""
        return [text for text in self.complaints if "dicache" in text.lower() or text.startswith("uncaught")]

    # What a user does -------------------------------------------------------------------------------------------

    def drop(self, name: str, text: str) -> None:
        """Drop a file on the canvas, as from the file manager, and wait for its graph."""
        transfer = self.page.evaluate_handle(
            """([name, text]) => {
                const transfer = new DataTransfer();
                transfer.items.add(new File([text], name, { type: "application/json" }));
                return transfer;
            }""",
            [name, text],
        )
        before = self.page.evaluate("app.graph.id")
        at = {"dataTransfer": transfer, "clientX": 700, "clientY": 500}
        for event in ("dragover", "drop"):
            self.page.dispatch_event("#graph-canvas", event, at)
        wanted = sorted(node["type"] for node in json.loads(text)["nodes"])
        self.page.wait_for_function(
            "([wanted]) => JSON.stringify(app.graph.nodes.map((n) => n.type).sort()) === JSON.stringify(wanted)",
            arg=[wanted],
        )
        self.settle()  # the front end fits the graph into view
        assert before is not None

    def load(self, workflow: str) -> None:
        """Drop one of the example workflows, or the testbed's."""
        file = (TESTBED_FOLDER if workflow == "testbed_flux" else WORKFLOWS) / f"{workflow}.json"
        self.drop(file.name, file.read_text(encoding="utf-8"))

    def run(self) -> None:
        """Press the Run button and wait until the queue is empty again."""
        finished = self.page.evaluate(_COUNT_FINISHED)
        self.page.get_by_role("button", name="Run", exact=True).first.click()
        self.page.wait_for_function("(before) => window.finishedPrompts > before", arg=finished)

    def set_widget(self, node_type: str, values: dict) -> None:
        """Type values into the widgets of the first node of a type (through the graph: the editors are ComfyUI's)."""
        self.page.evaluate(
            """([type, values]) => {
                const node = app.graph.nodes.find((n) => n.type === type);
                for (const [name, value] of Object.entries(values))
                    node.widgets.find((w) => w.name === name).value = value;
            }""",
            [node_type, values],
        )

    def put_down(self) -> None:
        """Click until the new node stays: newer front ends hang it on the pointer, some frames after it is made."""
        self.settle()
        for place in range(700, 900, 20):
            self.page.mouse.move(place, 400)
            self.page.mouse.click(place, 400)
            self.settle()
            if self.page.evaluate("app.canvas.state.ghostNodeId == null"):
                return
        raise AssertionError("The new node still hangs on the pointer.")

    def select(self, node_type: str) -> None:
        """Bring the first node of a type to the middle and click its title."""
        self.page.evaluate("(type) => { window.sought = app.graph.nodes.find((n) => n.type === type); }", node_type)
        self.page.evaluate(_LOOK_AT, "() => [1, 500 - sought.pos[0], 220 - sought.pos[1]]")
        self.page.mouse.click(500 + 120, 220 - 15)
        self.page.wait_for_function("app.canvas.selected_nodes[sought.id]")

    def fit(self) -> None:
        """Show the whole graph, with nothing selected."""
        self.page.evaluate("app.canvas.deselectAll()")
        self.page.evaluate(_LOOK_AT, _WHOLE_GRAPH)

    def settle(self) -> None:
        """Wait until the view stands still: the front end glides to what it wants to show."""
        self.page.evaluate(_LOOK_AT, "() => [app.canvas.ds.scale, ...app.canvas.ds.offset]")

    # What a user sees -------------------------------------------------------------------------------------------

    @property
    def strip(self) -> Locator:
        """The strips that are on the screen."""
        return self.page.locator(".dicache-strip:visible")

    def label(self, strip: Locator | None = None) -> str:
        return (strip or self.strip.first).get_attribute("aria-label")

    def wait_for_label(self, part: str) -> None:
        """Until the first strip on the screen says ``part``."""
        expect(self.strip.first).to_have_attribute("aria-label", re.compile(re.escape(part)), timeout=PATIENCE)

    def states(self, strip: Locator | None = None) -> str:
        """The columns' states as the event's letters."""
        columns = (strip or self.strip.first).locator(".column")
        return "".join(columns.evaluate_all("(columns) => columns.map((c) => c.dataset.state)"))

    def screenshot(self, name: str) -> Path:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.settle()
        path = ARTEFACTS / f"{name}_{self.renderer}_{self.version}.png"
        self.page.screenshot(path=path)
        return path


# Sets the view to what the given function wants, again and again until it has stayed so for some frames.
_LOOK_AT = """async (wanted) => {
    const frame = () => new Promise(requestAnimationFrame);
    const { ds } = app.canvas;
    for (let still = 0, last = ""; still < 6; ) {
        const [scale, x, y] = eval(wanted)();
        [ds.scale, ds.offset[0], ds.offset[1]] = [scale, x, y];
        app.canvas.setDirty(true, true);
        still = last === [scale, x, y].join() ? still + 1 : 0;
        last = [scale, x, y].join();
        await frame();
        if ([ds.scale, ...ds.offset].join() !== last) still = 0;
    }
}"""

_WHOLE_GRAPH = """() => {
    const { nodes } = app.canvas.graph;
    const left = Math.min(...nodes.map((n) => n.pos[0]));
    const right = Math.max(...nodes.map((n) => n.pos[0] + n.size[0]));
    const top = Math.min(...nodes.map((n) => n.pos[1] - 30));
    const bottom = Math.max(...nodes.map((n) => n.pos[1] + n.size[1]));
    const scale = Math.min(1, 1250 / (right - left), 720 / (bottom - top));
    return [scale, 750 / scale - (left + right) / 2, 475 / scale - (top + bottom) / 2];
}"""

_COUNT_FINISHED = """() => {
    if (window.finishedPrompts === undefined) {
        window.finishedPrompts = 0;
        const done = () => { window.finishedPrompts += 1; };
        for (const kind of ["execution_success", "execution_error", "execution_interrupted"])
            app.api.addEventListener(kind, done);
    }
    return window.finishedPrompts;
}"""


def post(url: str, body: dict) -> dict | None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None
