"""The strip's real colours, read from the page: both themes, both renderers, and eyes that see no green."""

import io
from itertools import pairwise

import numpy as np
import pytest
from desk import RENDERERS, Desk
from PIL import Image

pytestmark = pytest.mark.browser

TEXT_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
SHAPE_CONTRAST = 3.0  # WCAG 2.2, 1.4.11
CELLS = "wwwwccccrrrrmmmml"
# What dichromats without the middle cones see, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
SHOW = """([cells]) => {
    const node = LiteGraph.createNode("DiCacheApply");
    app.graph.add(node);
    node.pos = [300, 100];
    node.setSize([330, node.computeSize()[1]]);
    const accumulated_errors = [...cells].map((cell) => ("crm".includes(cell) ? 0.3 : null));
    const effective = { threshold: 0.4, interval: null, target: null, probe_depth: 1, warmup_steps: 4 };
    const event = { node: String(node.id), steps: cells.length, cells, effective, accumulated_errors, reused: 4,
        speedup: 1.5, policy: "dicache", nothing: null, finished: true };
    app.api.dispatchEvent(new CustomEvent("dicache.step", { detail: event }));
    const report = LiteGraph.createNode("DiCacheReport");
    app.graph.add(report);
    report.pos = [700, 100];
    report.setSize([420, 460]);
    const steps = [...cells].map((cell, step) =>
        ({ step, accumulated: accumulated_errors[step], reuse: cell === "r", reason: "" }));
    const run = { steps: cells.length, cells, effective: { threshold: 0.4 },
        seconds_per_step: [...cells].map(() => 1),
        samples: [{ stream: 0, role: "positive", number: 1, row: 0, steps }] };
    report.onExecuted({ text: ["Flux, 17 steps: 13 computed\\nmore"], dicache: [run] });
}"""
COLOUR = """(text) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.fillStyle = getComputedStyle(text).color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module", params=["dark", "light"])
def theme(request):
    return request.param


@pytest.fixture(scope="module", params=RENDERERS)
def renderer(request):
    return request.param


@pytest.fixture(scope="module")
def shown(browser, site, renderer, theme):
    """A desk with one strip on it that shows every state."""
    desk = Desk(browser, site.url, renderer, {"Comfy.ColorPalette": theme}, scale=2)
    desk.clear()
    desk.page.evaluate(SHOW, [CELLS])
    desk.wait_for_label("4 of 17")
    desk.page.mouse.move(20, 850)
    yield desk
    desk.screenshot(f"colours_{theme}")
    desk.close()


def linear(colour: np.ndarray) -> np.ndarray:
    """sRGB 0..255 as linear light 0..1."""
    share = np.asarray(colour, np.float64) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def luminance(colour: np.ndarray) -> np.ndarray:
    return linear(colour) @ np.array([0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    lighter, darker = sorted((float(luminance(one)), float(luminance(other))), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.fixture(scope="module")
def picture(shown) -> "Picture":
    return Picture(shown)


class Picture:
    """One photograph of the strip, at two pixels to the page's one."""

    def __init__(self, desk: Desk) -> None:
        self.strip = desk.strip.first
        self.corner = self.strip.bounding_box()
        self.pixels = np.asarray(Image.open(io.BytesIO(self.strip.screenshot())).convert("RGB")).astype(np.float64)
        colours, counts = np.unique(self.pixels.reshape(-1, 3), axis=0, return_counts=True)
        self.ground = colours[counts.argmax()]

    def cell(self, state: str) -> np.ndarray:
        """A cell of a state as it is painted, without its rounded corners."""
        box = self.strip.locator(f".plot .column[data-state='{state}'] .cell").first.bounding_box()
        top, left = (round(2 * (box[axis] - self.corner[axis])) for axis in "yx")
        return self.pixels[top + 1 : top + 17, left + 3 : left + 25]


def test_text_stands_out(shown, picture):
    for selector in (".text > :first-child", ".speedup", ".settings", ".legend span >> nth=0"):
        colour = shown.strip.first.locator(selector).evaluate(COLOUR)
        assert contrast(colour, picture.ground) >= TEXT_CONTRAST, selector


def test_text_of_the_report_stands_out(shown):
    report = shown.page.locator(".dicache-report:visible").first
    pixels = np.asarray(Image.open(io.BytesIO(report.screenshot())).convert("RGB"))
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    for selector in (".text", ".title >> nth=0", ".ticks", ".legend span >> nth=0"):
        text = report.locator(selector)
        assert contrast(text.evaluate(COLOUR), colours[counts.argmax()]) >= TEXT_CONTRAST, selector
        assert text.evaluate("(text) => parseFloat(getComputedStyle(text).fontSize)") >= 10


def test_a_hint_before_the_first_run_stands_out(shown, picture):
    box = shown.strip.first.locator(".strip")
    box.evaluate("(box) => { box.dataset.idle = 'true'; }")
    colour = shown.strip.first.locator(".text > :first-child").evaluate(COLOUR)
    box.evaluate("(box) => { box.dataset.idle = 'false'; }")
    assert contrast(colour, picture.ground) >= TEXT_CONTRAST


def test_every_state_stands_out(picture):
    for state in "wcrm":
        strongest = max(contrast(colour, picture.ground) for colour in picture.cell(state).reshape(-1, 3))
        assert strongest >= SHAPE_CONTRAST, state


def test_states_are_told_apart_without_green(picture):
    """Pairwise, by how much of the cell differs in light as such eyes see it: shape and lightness count, hue not."""
    seen = {state: luminance_without_green(picture.cell(state)) for state in "wcrm"}
    behind = float(luminance_without_green(picture.ground))
    for one, other in [("w", "r"), ("w", "c"), ("c", "r"), ("w", "m")]:
        strongest = max(abs(seen[one] - behind).max(), abs(seen[other] - behind).max())
        assert abs(seen[one] - seen[other]).mean() >= 0.25 * strongest, f"{one} looks like {other}"


def luminance_without_green(picture: np.ndarray) -> np.ndarray:
    """The light that a deuteranope sees."""
    return (linear(picture) @ DEUTERANOPIA.T).clip(0, 1) @ np.array([0.2126, 0.7152, 0.0722])


def test_readable_with_all_widgets_shown(shown):
    """The plot keeps its height however many widgets stand above it, and nothing lies on top of another thing."""
    shown.page.evaluate(
        """() => {
            const node = app.graph.nodes.find((n) => n.type === "DiCacheApply");
            node.showAdvanced = true;
            node.setSize([node.size[0], node.computeSize()[1]]);
            app.canvas.setDirty(true, true);
        }"""
    )
    shown.settle()
    boxes = [shown.strip.first.locator(part).bounding_box() for part in (".text", ".settings", ".plot", ".legend")]
    assert boxes[2]["height"] >= 48
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 0.5
