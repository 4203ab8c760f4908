"""A user bypasses, mutes or deletes DiCache Apply in a graph with Report and Compare, and presses Run."""

import json

import pytest
from desk import TESTBED_FOLDER

pytestmark = pytest.mark.browser

BYPASSED, MUTED = 4, 2
ADD_COMPARE = """() => {
    const ofType = (type) => app.graph.nodes.find((n) => n.type === type);
    const compare = LiteGraph.createNode("DiCacheCompare");
    app.graph.add(compare);
    compare.pos = [40, 900];
    compare.setSize([400, 500]);
    const value = (name, to) => { compare.widgets.find((w) => w.name === name).value = to; };
    value("steps", 4);
    value("settings", "fast");
    const sampler = ofType("KSampler");
    sampler.widgets.find((w) => w.name === "steps").value = 9;
    for (const name of ["positive", "negative", "latent_image"]) {
        const link = app.graph.links.get(sampler.inputs[sampler.findInputSlot(name)].link);
        app.graph.getNodeById(link.origin_id).connect(link.origin_slot, compare, compare.findInputSlot(name));
    }
    ofType("DiCacheApply").connect(0, compare, compare.findInputSlot("model"));
}"""
SEE = """() => {
    window.outputs = {};
    window.errors = [];
    app.api.addEventListener("executed", ({ detail }) => {
        const type = app.graph.getNodeById(detail.display_node ?? detail.node).type;
        outputs[type] = detail.output;
    });
    app.api.addEventListener("execution_error", ({ detail }) => errors.push(detail));
}"""


@pytest.fixture
def graph(desk):
    desk.load("testbed_flux")
    desk.page.evaluate(ADD_COMPARE)
    desk.page.evaluate(SEE)
    desk.set_widget("KSampler", {"seed": next(SEEDS)})
    desk.fit()
    return desk


SEEDS = iter(range(20_000, 30_000))


def test_bypassed(graph):
    graph.page.evaluate(f"app.graph.nodes.find((n) => n.type === 'DiCacheApply').mode = {BYPASSED}")
    graph.run()
    check_everything_ran(graph)
    # How the front end says that it leaves out the link to a bypassed node's output that no input of it matches.
    graph.complaints[:] = [text for text in graph.complaints if "No input types match" not in text]


def test_deleted(graph):
    graph.page.evaluate(
        """() => {
            app.canvas.deselectAll();
            app.canvas.select(app.graph.nodes.find((n) => n.type === "DiCacheApply"));
            app.canvas.deleteSelected();
        }"""
    )
    graph.run()
    check_everything_ran(graph)


def check_everything_ran(graph):
    graph.page.wait_for_function("outputs.DiCacheReport && outputs.DiCacheCompare && outputs.PreviewImage")
    outputs = graph.page.evaluate("outputs")
    assert "bypassed" in outputs["DiCacheReport"]["text"][0]
    assert len(outputs["DiCacheCompare"]["dicache"]) == 2
    assert graph.page.evaluate("errors") == []
    graph.page.locator(".dicache-report:visible").get_by_text("bypassed").wait_for()
    graph.screenshot("without_apply")


def test_muted(graph):
    """To mute a node is to leave out what needs it: the sampler cannot run, and all that does without Apply does."""
    graph.page.evaluate(
        """(muted) => {
            const ofType = (type) => app.graph.nodes.find((n) => n.type === type);
            ofType("UNETLoader").connect(0, ofType("DiCacheCompare"), "model");
            ofType("DiCacheApply").mode = muted;
        }""",
        MUTED,
    )
    graph.page.evaluate("app.queuePrompt(0)")
    graph.page.wait_for_function("outputs.DiCacheCompare")
    assert graph.page.evaluate("Object.keys(outputs)") == ["DiCacheCompare"]
    assert graph.page.evaluate("errors") == []


def test_the_testbeds_graph_has_what_is_taken_away():
    nodes = json.loads((TESTBED_FOLDER / "testbed_flux.json").read_text(encoding="utf-8"))["nodes"]
    assert {"DiCacheApply", "DiCacheReport", "KSampler"} <= {node["type"] for node in nodes}
