"""The strip on the node: a user drops a workflow, presses Run and watches, in both renderers."""

import json
import uuid
from itertools import pairwise

import pytest
from desk import READY, TESTBED_FOLDER, Desk

pytestmark = pytest.mark.browser

# Keeps every text that the first strip has shown.
WATCH = """() => {
    const strip = document.querySelector(".dicache-strip");
    window.seen = [strip.getAttribute("aria-label")];
    new MutationObserver(() => seen.push(strip.getAttribute("aria-label")))
        .observe(strip, { attributes: true, attributeFilter: ["aria-label"] });
}"""
FINISHED = r"DiCache · \d+ of \d+ steps skipped · \d+\.\d\d×"


@pytest.fixture
def testbed(desk):
    """The testbed's workflow, ready to run; a new seed, because ComfyUI does not repeat what it has done."""
    workflow = json.loads((TESTBED_FOLDER / "testbed_flux.json").read_text(encoding="utf-8"))
    desk.drop("testbed_flux.json", json.dumps(workflow | {"id": str(uuid.uuid4())}))  # not the one of the last test
    desk.fit()
    desk.set_widget("KSampler", {"seed": next(SEEDS)})
    return desk


SEEDS = iter(range(1000, 9000))


@pytest.mark.every_desk
def test_drop_run_and_watch(testbed):
    desk = testbed
    desk.wait_for_label("No run yet")
    desk.screenshot("idle")
    desk.page.evaluate(WATCH)
    desk.run()
    desk.page.wait_for_function(r"/\d+ of 30 steps skipped/.test(seen.at(-1))")
    texts = desk.page.evaluate("seen")
    running = [text for text in texts if text.startswith("DiCache · step ")]
    steps = [int(text.split("step ")[1].split("/")[0]) for text in running]
    assert len(set(steps)) >= 3, f"the strip fills while the run goes on: {texts}"
    assert steps == sorted(steps)
    states = desk.states()
    assert states.startswith("wc"), "the default preset's warm-up"
    assert states.endswith("l")
    assert len(states) == 30
    assert "r" in states
    assert f"{states.count('r')} of 30 steps skipped" in desk.label()
    desk.page.get_by_text(f"{states.count('r')} skipped").first.wait_for()  # the text on DiCache Report
    report = desk.page.locator(".dicache-report:visible").first
    parts = report.locator(".run > *").evaluate_all("(parts) => parts.map((part) => part.getBoundingClientRect())")
    gaps = [below["top"] - above["bottom"] for above, below in pairwise(parts)]
    assert max(gaps) <= 12, "no blank gap between words and drawing"
    edge = report.bounding_box()
    assert edge["y"] + edge["height"] - parts[-1]["bottom"] <= 14, "nor below"
    assert desk.page.evaluate(
        """() => {
            const node = app.graph.nodes.find((n) => n.type === "DiCacheReport");
            return node.widgets.length === 1 && !node.imgs?.length;
        }"""
    )
    desk.screenshot("after_run")


def test_a_second_queue(testbed):
    desk = testbed
    desk.run()
    desk.set_widget("KSampler", {"seed": next(SEEDS), "steps": 12})
    desk.run()
    desk.wait_for_label("of 12 steps skipped")
    assert len(desk.states()) == 12


def test_zero_threshold_says_why(testbed):
    desk = testbed
    desk.set_widget("DiCacheApply", {"threshold": 0.0})
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("0 of 8 steps skipped")
    assert desk.strip.first.locator(".legend").inner_text() == "threshold 0 never skips a step"


TWO_IN_A_ROW = """(type) => {
    const ofType = (type) => app.graph.nodes.find((n) => n.type === type);
    const [first, sampler] = [ofType("DiCacheApply"), ofType("KSampler")];
    const later = LiteGraph.createNode(type);
    app.graph.add(later);
    later.pos = [first.pos[0], first.pos[1] + 700];
    first.connect(0, later, later.findInputSlot("model"));
    if (type === "DiCacheApply") later.connect(0, sampler, sampler.findInputSlot("model"));
    return String(later.id);
}"""


def test_the_first_of_two_nodes_in_a_row_says_which_one_overrides_it(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")
    later = desk.page.evaluate(TWO_IN_A_ROW, "DiCacheApply")
    desk.set_widget("KSampler", {"seed": next(SEEDS)})
    desk.fit()
    desk.run()
    desk.wait_for_label(f"Overridden by DiCache Apply #{later}")
    labels = sorted(strip.get_attribute("aria-label") for strip in desk.strip.all())
    assert [("of 8 steps skipped" in label) for label in labels] == [True, False]
    (said,) = [s for s in desk.strip.all() if "Overridden" in s.get_attribute("aria-label")]
    assert said.locator(".legend").inner_text() == "its settings are used: remove one of the two"
    desk.page.locator(".dicache-report:visible").get_by_text("This DiCache Apply was overridden").wait_for()
    desk.screenshot("overridden")


def test_a_copy_has_its_own_quiet_strip(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.page.evaluate(
        """() => {
            const canvas = app.canvas;
            const node = app.graph.nodes.find((n) => n.type === "DiCacheApply");
            canvas.deselectAll();
            canvas.select(node);
            canvas.copyToClipboard();
            canvas.pasteFromClipboard({ position: [node.pos[0], node.pos[1] + 700] });
        }"""
    )
    desk.fit()
    desk.page.wait_for_function("document.querySelectorAll('.dicache-strip').length === 2")
    labels = sorted(strip.get_attribute("aria-label") for strip in desk.strip.all())
    assert [("No run yet" in label) for label in labels] == [False, True]


def test_reload(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    # The front end keeps the open workflow for a reload only a moment after it was changed.
    desk.page.wait_for_function(
        "Object.values({ ...localStorage, ...sessionStorage }).some((text) => text.includes('DiCacheApply'))"
    )
    desk.open()
    desk.page.wait_for_function("app.graph.nodes.some((n) => n.type === 'DiCacheApply')")
    desk.fit()
    desk.strip.first.wait_for()
    desk.set_widget("KSampler", {"seed": next(SEEDS)})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")


def test_leaving_the_workflow_and_coming_back(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")
    label = desk.label()
    tab = desk.page.evaluate("app.extensionManager.workflow.activeWorkflow.filename")
    desk.clear()
    desk.page.get_by_text(tab, exact=True).first.click()
    desk.page.wait_for_function("app.graph.nodes.some((n) => n.type === 'DiCacheApply')")
    desk.wait_for_label(label)


def test_within_a_subgraph(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.page.evaluate(
        """() => {
            const node = app.graph.nodes.find((n) => n.type === "DiCacheApply");
            const { node: outer } = app.graph.convertToSubgraph(new Set([node]));
            app.canvas.deselectAll();
            window.outer = outer;
        }"""
    )
    desk.run()
    desk.page.evaluate("app.canvas.openSubgraph(outer.subgraph, outer)")
    desk.fit()
    desk.wait_for_label("of 8 steps skipped")
    desk.screenshot("subgraph")


def test_the_strip_is_not_saved_and_not_sent(testbed):
    desk = testbed
    saved, prompt = desk.page.evaluate("async () => [app.graph.serialize(), (await app.graphToPrompt()).output]")
    inputs = next(node["inputs"] for node in prompt.values() if node["class_type"] == "DiCacheApply")
    values = next(node["widgets_values"] for node in saved["nodes"] if node["type"] == "DiCacheApply")
    assert not [name for name in inputs if "strip" in name]
    assert len(values) == len([name for name in inputs if name != "model"])


def test_the_properties_panel_leaves_the_strip_alone(testbed):
    desk = testbed
    before = desk.strip.first.bounding_box()["width"] / desk.page.evaluate("app.canvas.ds.scale")
    desk.page.evaluate("app.canvas.select(app.graph.nodes.find((n) => n.type === 'DiCacheApply'))")
    desk.set_setting("Comfy.RightSidePanel.IsOpen", True)
    desk.settle()
    after = desk.strip.first.bounding_box()["width"] / desk.page.evaluate("app.canvas.ds.scale")
    assert after == pytest.approx(before, abs=1)


def test_the_strip_can_be_hidden(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")
    label, height = desk.label(), desk.page.evaluate(HEIGHT)
    desk.set_setting("DiCache.ShowStrip", False)
    desk.strip.first.wait_for(state="detached")
    assert desk.page.evaluate(HEIGHT) < height - 100
    desk.set_setting("DiCache.ShowStrip", True)
    desk.wait_for_label(label)


HEIGHT = "app.graph.nodes.find((n) => n.type === 'DiCacheApply').size[1]"


def test_the_wheel_zooms_over_the_strip(testbed):
    desk = testbed
    box = desk.strip.first.bounding_box()
    scale = desk.page.evaluate("app.canvas.ds.scale")
    desk.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for _ in range(20):  # notch by notch, as a hand does: a busy page may drop one
        desk.page.mouse.wheel(0, -200)
        desk.settle()
        if desk.page.evaluate("app.canvas.ds.scale") > scale:
            return
    raise AssertionError("the wheel does nothing")


def test_changing_the_renderer_keeps_the_run(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")
    label = desk.label()
    for nodes2 in (desk.renderer == "classic", desk.renderer == "nodes2"):
        desk.set_setting("Comfy.VueNodes.Enabled", nodes2)
        desk.settle()
        desk.wait_for_label(label)


def test_an_event_for_no_node_is_no_error(testbed):
    desk = testbed
    desk.page.evaluate(
        """() => {
            const effective = { threshold: 0.4, interval: null, target: null, probe_depth: null, warmup_steps: 0 };
            const event = { steps: 2, cells: "w-", effective, accumulated_errors: [null, null], reused: 0,
                speedup: null, policy: null, nothing: null, finished: false };
            for (const node of ["9:9:9", "999", "1"])
                app.api.dispatchEvent(new CustomEvent("dicache.step", { detail: { ...event, node } }));
        }"""
    )
    assert "No run yet" in desk.label()


def test_a_light_theme(browser, site, renderer):
    desk = Desk(browser, site.url, renderer, {"Comfy.ColorPalette": "light"})
    desk.load("testbed_flux")
    desk.set_widget("KSampler", {"seed": next(SEEDS)})
    desk.fit()
    desk.run()
    text = desk.strip.first.locator(".text span").first
    color, behind = text.evaluate(
        """(text) => {
            const paint = (color) => {
                const context = new OffscreenCanvas(1, 1).getContext("2d");
                context.fillStyle = color;
                context.fillRect(0, 0, 1, 1);
                return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const theme = getComputedStyle(document.body);
            return [paint(getComputedStyle(text).color), paint(theme.getPropertyValue("--comfy-menu-bg"))];
        }"""
    )
    assert sum(color) + 300 < sum(behind), f"dark text {color} on a light ground {behind}"
    desk.screenshot("light")
    assert not desk.complaints_about_pack
    desk.close()


def test_the_example_is_what_was_tested():
    types = {
        node["type"] for node in json.loads((TESTBED_FOLDER / "testbed_flux.json").read_text(encoding="utf-8"))["nodes"]
    }
    assert {"DiCacheApply", "DiCacheReport", "KSampler", "UNETLoader"} <= types


def reload(desk: Desk) -> None:
    """A page that has heard of no run; what the server says is kept."""
    desk.page.reload()
    desk.page.wait_for_function(READY)
    desk.clear()


def test_after_a_reload_the_strip_shows_the_run_that_the_history_knows(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")
    said, states = desk.label(), desk.states()
    workflow = desk.page.evaluate("JSON.stringify(app.rootGraph.serialize())")
    reload(desk)
    desk.drop("again.json", workflow)
    desk.wait_for_label("of 8 steps skipped")
    assert (desk.label(), desk.states()) == (said, states)


def test_a_saved_image_that_is_dropped_in_brings_its_run_along(testbed):
    desk = testbed
    desk.set_widget("KSampler", {"steps": 8})
    desk.run()
    desk.wait_for_label("of 8 steps skipped")
    said, states = desk.label(), desk.states()
    image = desk.page.evaluate(LATEST_IMAGE)
    reload(desk)
    transfer = desk.page.evaluate_handle(
        """async (bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "shared.png", { type: "image/png" }));
            return transfer;
        }""",
        image,
    )
    for event in ("dragover", "drop"):
        desk.page.dispatch_event("#graph-canvas", event, {"dataTransfer": transfer, "clientX": 700, "clientY": 500})
    desk.wait_for_label("of 8 steps skipped")
    assert (desk.label(), desk.states()) == (said, states)


# The bytes of the image that the server made last; its history forgets how.
LATEST_IMAGE = """async () => {
    const history = Object.values(await (await app.api.fetchApi("/history?max_items=1")).json());
    const [image] = Object.values(history[0].outputs).flatMap((output) => output.images ?? [])
        .filter(({ filename }) => filename.endsWith(".png"));
    const bytes = await (await app.api.fetchApi(`/view?${new URLSearchParams(image)}`)).arrayBuffer();
    await app.api.fetchApi("/history", { method: "POST", body: JSON.stringify({ clear: true }) });
    return [...new Uint8Array(bytes)];
}"""


FOCUSED = "document.activeElement?.shadowRoot && document.activeElement.classList[0]"


def test_strip_and_report_are_reached_by_the_tab_key(desk):
    """From wherever the page begins, without a mouse."""
    desk.load("testbed_flux")
    found = set()
    for _ in range(150):
        desk.page.keyboard.press("Tab")
        found.add(desk.page.evaluate(FOCUSED))
        if {"dicache-strip", "dicache-report"} <= found:
            break
    assert {"dicache-strip", "dicache-report"} <= found
