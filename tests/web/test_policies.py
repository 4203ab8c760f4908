"""The menu of DiCache Policy in the real front end: names for people on the screen, ids in the graph."""

import pytest

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
