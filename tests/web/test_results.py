"""What Compare and Calibrate found is said on their nodes, as DiCache Tune's result is (test_tune.py)."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

STEPS = 6
ADD = """([type, widgets]) => {
    const ofType = (kind) => app.graph.nodes.find((n) => n.type === kind);
    const added = LiteGraph.createNode(type);
    app.graph.add(added);
    added.pos = [40, 900];
    const sampler = ofType("KSampler");
    const from = { model: ofType("DiCacheApply"), positive: sampler, negative: sampler, latent_image: sampler };
    for (const [name, node] of Object.entries(from)) {
        const link = app.graph.links.get(node.inputs[node.findInputSlot(name)].link);
        app.graph.getNodeById(link.origin_id).connect(link.origin_slot, added, added.findInputSlot(name));
    }
    for (const [name, value] of Object.entries(widgets)) added.widgets.find((w) => w.name === name).value = value;
    for (const kind of ["KSampler", "DiCacheApply", "DiCacheReport", "PreviewImage"])
        for (const node of app.graph.nodes.filter((n) => n.type === kind)) node.mode = 2;
    window.found = null;
    app.api.addEventListener("executed", ({ detail }) => { window.found = detail.output; });
    app.api.addEventListener("execution_error", ({ detail }) => { window.found = { error: detail }; });
}"""
NODES = {
    "DiCacheCompare": ({"settings": "published, 3"}, r"PSNR [\d.]+ dB, SSIM [\d.]+"),
    "DiCacheCalibrate": ({"name": "of_a_test"}, r"^Saved calibration of_a_test: Flux, 6 steps\."),
}
SEEDS = iter(range(50_000, 60_000))  # the host has what it ran once


@pytest.mark.parametrize("node", NODES)
def test_what_was_found_is_said_on_the_node(desk, node):
    widgets, words = NODES[node]
    desk.load("testbed_flux")
    desk.page.evaluate(ADD, [node, {"steps": STEPS, "seed": next(SEEDS), **widgets}])
    desk.run()
    desk.page.wait_for_function("window.found !== null")
    found = desk.page.evaluate("found")
    assert "error" not in found
    (text,) = found["text"]
    assert re.search(words, text)
    desk.select(node)
    desk.fit()
    shown = desk.page.locator(".dicache-said:visible")
    expect(shown).to_have_text(text)
    desk.settle()
    desk.screenshot(f"result_{node}")
