"""The menus of the pack's nodes in the real front end: names for people on the screen, ids in the graph."""

import pytest

from dicache_core.presets import MENU

ADD = """async () => {
    const node = LiteGraph.createNode("DiCachePolicy");
    node.pos = [400, 200];
    app.graph.add(node);
    window.widget = node.widgets.find((w) => w.name === "policy");
    app.canvas.setDirty(true, true);
}"""
LABELS = "() => Object.fromEntries(widget.options.values.map((id) => [id, widget.options.getOptionLabel(id)]))"


@pytest.mark.browser
def test_policies_have_names_in_groups_and_ids_in_the_graph(desk):
    desk.page.evaluate(ADD)
    labels = desk.page.evaluate(LABELS)
    offered = desk.object_info("DiCachePolicy")["input"]["required"]["policy"][1]["options"]
    assert list(labels) == offered
    assert len(set(labels.values())) == len(offered)
    assert all(" · " in label for label in labels.values()), "a policy without a name"
    groups = [label.split(" · ")[1] for label in labels.values()]
    assert groups == sorted(groups, key=groups.index), "a group is in two places of the menu"
    desk.page.evaluate("() => { widget.value = 'teacache'; app.canvas.setDirty(true, true); }")
    desk.screenshot("policies")
    if desk.renderer == "nodes2":
        desk.page.get_by_text("TeaCache · judges every step").first.wait_for()
    saved, prompt = desk.page.evaluate("async () => [app.graph.serialize(), (await app.graphToPrompt()).output]")
    (node,) = (node for node in saved["nodes"] if node["type"] == "DiCachePolicy")
    assert node["widgets_values"][0] == "teacache"
    assert [entry["inputs"]["policy"] for entry in prompt.values()] == ["teacache"]
    assert desk.complaints_about_pack == []


PRESETS = """async () => {
    const node = LiteGraph.createNode("DiCacheApply");
    node.pos = [400, 200];
    app.graph.add(node);
    window.widget = node.widgets.find((w) => w.name === "preset");
    app.canvas.setDirty(true, true);
}"""
SAVED = """() => {
    const policy = app.graph.nodes.find((n) => n.type === "DiCachePolicy");
    return policy.widgets.find((w) => w.name === "curve").options.values;
}"""
EXECUTED = """() => {
    const detail = { node: "99", output: { dicache: [{ curve: "new_20" }] } };
    app.api.dispatchEvent(new CustomEvent("executed", { detail }));
}"""


@pytest.mark.browser
def test_presets_say_what_they_do_and_ids_are_saved(desk):
    desk.page.evaluate(PRESETS)
    labels = desk.page.evaluate(LABELS)
    assert list(labels) == list(MENU)
    assert (labels["balanced"], labels["published"]) == ("balanced, up to 2x", "published (paper)")
    if desk.renderer == "nodes2":
        desk.page.get_by_text("balanced, up to 2x").first.wait_for()
    desk.screenshot("presets")
    saved = desk.page.evaluate("app.graph.serialize()")
    assert saved["nodes"][0]["widgets_values"][0] == "balanced"
    # What is the paper's method's own waits behind "advanced".
    advanced = desk.page.evaluate(
        "app.graph.nodes[0].widgets.filter((w) => w.options?.advanced || w.advanced).map((w) => w.name)"
    )
    assert {"threshold", "probe_depth"} <= set(advanced)
    names = desk.page.evaluate("app.graph.nodes[0].widgets.map((w) => w.label ?? w.name)")
    assert {"threshold (paper)", "probe depth (paper)", "cache precision"} <= set(names)


@pytest.mark.browser
def test_a_new_calibration_is_offered_at_once(desk):
    desk.page.evaluate(ADD)
    assert desk.page.evaluate(SAVED)[0] == ""
    desk.page.evaluate(EXECUTED)
    assert desk.page.evaluate(SAVED)[-1] == "new_20"
    desk.page.evaluate("app.graph.clear()")
    desk.page.evaluate(ADD)
    assert desk.page.evaluate(SAVED)[-1] == "new_20", "nor does a new node forget it"


@pytest.mark.browser
@pytest.mark.parametrize("node", ["DiCacheCompare", "DiCacheTuning", "DiCacheCalibrate"])
def test_a_new_node_keeps_its_seed(desk, node):
    add = "(type) => { const n = LiteGraph.createNode(type); n.pos = [400, 150]; app.graph.add(n); }"
    desk.page.evaluate(add, node)
    control = "app.graph.nodes[0].widgets.find((w) => w.name === 'control_after_generate').value"
    assert desk.page.evaluate(control) == "fixed"
    desk.page.locator(".dicache-said:visible").get_by_text("the result will show here").wait_for()
    desk.screenshot(f"new_{node}")
