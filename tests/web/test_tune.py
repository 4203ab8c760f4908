"""A user tunes the testbed's Flux, looks at the sheet, and samples with the preset tuned."""

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

STEPS = 10
ADD_TUNE = """(steps) => {
    const ofType = (type) => app.graph.nodes.find((n) => n.type === type);
    const tune = LiteGraph.createNode("DiCacheTuning");
    app.graph.add(tune);
    tune.pos = [40, 900];
    tune.setSize([640, 1100]);
    const set = (node, name, to) => { node.widgets.find((w) => w.name === name).value = to; };
    const sampler = ofType("KSampler");
    set(sampler, "steps", steps);
    set(tune, "steps", steps);
    set(tune, "want", "similar");
    for (const name of ["positive", "negative", "latent_image"]) {
        const link = app.graph.links.get(sampler.inputs[sampler.findInputSlot(name)].link);
        app.graph.getNodeById(link.origin_id).connect(link.origin_slot, tune, tune.findInputSlot(name));
    }
    const apply = ofType("DiCacheApply");
    const link = app.graph.links.get(apply.inputs[apply.findInputSlot("model")].link);
    app.graph.getNodeById(link.origin_id).connect(link.origin_slot, tune, tune.findInputSlot("model"));
}"""
SEE = """() => {
    window.tuned = null;
    window.errors = [];
    window.said = new Set();
    app.api.addEventListener("executed", ({ detail }) => {
        const type = app.graph.getNodeById(detail.display_node ?? detail.node).type;
        if (type === "DiCacheTuning") window.tuned = detail.output;
    });
    app.api.addEventListener("execution_error", ({ detail }) => errors.push(detail));
    const look = () => {
        for (const { name, element } of app.graph.nodes.flatMap((n) => n.widgets ?? []))
            if (name === "dicache_said") said.add(element.shadowRoot.textContent);
    };
    app.api.addEventListener("dicache.text", () => requestAnimationFrame(look));
}"""
SEEDS = iter(range(40_000, 50_000))


@pytest.fixture
def graph(desk):
    desk.load("testbed_flux")
    desk.page.evaluate(ADD_TUNE, STEPS)
    desk.page.evaluate(SEE)
    act(desk, "forget everything")
    desk.set_widget("KSampler", {"seed": next(SEEDS)})
    return desk


def act(desk, action: str) -> dict:
    """Run the node alone with an action; what it said."""
    seed = next(SEEDS)
    desk.set_widget("DiCacheTuning", {"action": action, "seed": seed})
    others = (
        "app.graph.nodes.filter((n) => ['KSampler', 'DiCacheApply', 'DiCacheReport', 'PreviewImage'].includes(n.type)"
    )
    desk.page.evaluate(f"{others}).forEach((n) => {{ n.mode = 2; }})")
    desk.page.evaluate("window.tuned = null")
    desk.run()
    desk.page.wait_for_function("window.tuned !== null || window.errors.length")
    desk.page.evaluate(f"{others}).forEach((n) => {{ n.mode = 0; }})")
    assert desk.page.evaluate("errors") == []
    return desk.page.evaluate("tuned")


def test_tuned_once_and_then_by_the_preset(graph):
    output = act(graph, "tune")
    (report,) = output["dicache"]
    assert report["granted"]
    assert report["full_runs"] <= 6
    assert len(output["images"]) == 1, "the plot: without a VAE there is no sheet"
    graph.select("DiCacheTuning")
    graph.fit()
    graph.settle()
    graph.screenshot("tune")

    graph.set_widget("DiCacheTuning", {"action": "list what is remembered"})
    graph.set_widget("DiCacheApply", {"preset": "tuned"})
    graph.run()
    assert graph.page.evaluate("errors") == []
    graph.wait_for_label(f"of {STEPS} steps skipped")
    settings = graph.strip.first.locator(".settings")
    expect(settings).to_have_text(re.compile(r"^(estimate: [a-z ]+ · )?tuned: similar · "))
    if report["chosen"].endswith("x"):
        expect(settings).to_contain_text(f"{report['chosen'][:-1]}×")
    graph.page.locator(".dicache-report:visible").get_by_text("tuned for 'similar'").wait_for()
    graph.select("DiCacheApply")
    graph.screenshot("preset_tuned")


def test_without_anything_remembered_the_strip_says_so(graph):
    graph.set_widget("DiCacheTuning", {"action": "list what is remembered"})
    graph.set_widget("DiCacheApply", {"preset": "tuned"})
    graph.run()
    assert graph.page.evaluate("errors") == []
    expect(graph.strip.first.locator(".settings")).to_have_text(
        re.compile(r"^(estimate: [a-z ]+ · )?not tuned for this model: balanced")
    )


def test_other_steps_than_tuned_are_said_on_the_strip(graph):
    act(graph, "tune")
    graph.set_widget("DiCacheTuning", {"action": "list what is remembered"})
    graph.set_widget("DiCacheApply", {"preset": "tuned"})
    graph.set_widget("KSampler", {"steps": 2 * STEPS})
    graph.run()
    expect(graph.strip.first.locator(".settings")).to_have_text(
        re.compile(rf"^(estimate: [a-z ]+ · )?not tuned for {2 * STEPS} steps: balanced")
    )


def test_the_sheet_is_on_the_node(desk, site):
    """With a VAE, through the front end: sheet and plot are shown, and the line of text that counts down."""
    desk.load("testbed_flux")
    desk.page.evaluate(ADD_TUNE, STEPS)
    desk.page.evaluate(SEE)
    kinds = json.loads(site.get("/object_info"))
    assert "DiCacheTestbedVAE" in kinds, "the testbed's code as a VAE"
    desk.page.evaluate(
        """() => {
            const tune = app.graph.nodes.find((n) => n.type === "DiCacheTuning");
            const vae = LiteGraph.createNode("DiCacheTestbedVAE");
            app.graph.add(vae);
            vae.pos = [40, 760];
            vae.widgets[0].value = "flux.safetensors";
            const loader = app.graph.nodes.find((n) => n.type === "UNETLoader");
            loader.connect(0, vae, vae.findInputSlot("model"));
            vae.connect(0, tune, tune.findInputSlot("vae"));
        }"""
    )
    output = act(desk, "tune")
    assert len(output["images"]) == 2
    (text,) = output["text"]
    shown = desk.page.locator(".dicache-said:visible")
    assert any(re.search(r"run \d of 2, at most .* left$", line) for line in desk.page.evaluate("[...said]"))
    desk.page.wait_for_function(
        "app.graph.nodes.find((n) => n.type === 'DiCacheTuning').imgs?.length === 2"
        if desk.renderer == "classic"
        else "[...document.querySelectorAll(\"img[src*='api/view']\")].some((img) => img.naturalWidth > 0)"
    )
    if desk.renderer == "nodes2":
        expect(desk.page.locator("img[src*='api/view']:visible").first).to_be_visible()
    desk.select("DiCacheTuning")
    desk.fit()
    desk.settle()
    desk.screenshot("tune_sheet")
    assert desk.page.evaluate(FRONT_ENDS_OWN) == 0, "said twice"
    expect(shown).to_have_text(text)
    tab = desk.page.evaluate("app.extensionManager.workflow.activeWorkflow.filename")
    desk.clear()
    desk.page.get_by_text(tab, exact=True).first.click()
    desk.page.wait_for_function("app.graph.nodes.some((n) => n.type === 'DiCacheTuning')")
    desk.fit()
    expect(shown).to_have_text(text)


FRONT_ENDS_OWN = "app.graph.nodes.flatMap((n) => n.widgets ?? []).filter((w) => w.type === 'progressText').length"


def test_a_plan_is_exported_on_one_machine_and_imported_on_another(graph, site):
    """The same machine, once it has forgotten what it tuned; the file comes under another name."""
    act(graph, "tune")
    user = site.base / "user" / "dicache"
    (file,) = (user / "tuned").glob("flux-*.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    content["choices"][-1] |= {"policy": "forecast", "target": "2x"}
    content["choices"][-1]["plan"] = {"shares": [i / 8 for i in range(8)], "calls": STEPS}  # as if it had been found
    file.write_text(json.dumps(content), encoding="utf-8")

    (text,) = act(graph, "export the plan")["text"]
    sent = (user / "plans" / "my_plan.json").read_text(encoding="utf-8")
    assert sent in text
    (user / "plans" / "my_plan.json").unlink()
    act(graph, "forget everything")
    (user / "plans" / "from_a_friend.json").write_text(sent, encoding="utf-8")

    graph.set_widget("DiCacheTuning", {"plan_name": "from_a_friend"})
    assert any("from_a_friend (Flux, 8 of 10 steps" in line for line in act(graph, "list plans to import")["text"])
    (text,) = act(graph, "import a plan")["text"]
    assert text.startswith("Imported: Flux, 8 of 10 steps computed (2x)")
    graph.fit()
    expect(graph.page.locator(".dicache-said:visible")).to_have_text(text)
    graph.screenshot("tune_import")
    graph.set_widget("DiCacheTuning", {"action": "list what is remembered"})
    graph.set_widget("DiCacheApply", {"preset": "tuned"})
    graph.run()
    assert graph.page.evaluate("errors") == []
    expect(graph.strip.first.locator(".settings")).to_contain_text("tuned: similar, imported")


def test_what_is_remembered_is_said_on_the_node(graph):
    """Newer front ends take their own line of text away when a job is done: here it is all that there is to see."""
    (text,) = act(graph, "list what is remembered")["text"]
    graph.fit()
    graph.page.wait_for_function("app.ui.lastQueueSize === 0")
    shown = graph.page.locator(".dicache-said:visible")
    expect(shown).to_have_text(text)
    graph.screenshot("tune_list")
