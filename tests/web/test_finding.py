"""A user who knows no file names finds the nodes, their tooltips and their help, in both renderers."""

import re
from contextlib import suppress

import pytest
from desk import Desk, post
from playwright.sync_api import Page, TimeoutError

pytestmark = pytest.mark.browser

PICTURE_LOADED = "[...document.images].some((i) => i.src.endsWith('/docs/strip.png') && i.naturalWidth > 0)"


def open_search(page: Page) -> None:
    """By a double click on the ground, which a page that has just come up does not take yet."""
    field = page.get_by_placeholder("Add a node").or_(page.get_by_placeholder("Search")).last
    for _ in range(10):
        page.mouse.dblclick(700, 500)
        with suppress(TimeoutError):
            return field.wait_for(timeout=5000)
    raise AssertionError("no search came up")


def test_node_search(desk):
    page = desk.page
    open_search(page)
    page.keyboard.type("dicache apply")
    page.get_by_text("DiCache Apply").first.wait_for()
    desk.screenshot("search")
    page.keyboard.press("Enter")
    page.wait_for_function("app.graph.nodes.length === 1")
    desk.put_down()
    assert page.evaluate("app.graph.nodes[0].type") == "DiCacheApply"


FIRST = "dicache", "teacache", "magcache", "speed up"  # of all nodes
FIRST_OF_THE_PACK = "cache", "easycache"  # behind ComfyUI's own
HITS = "() => [...document.querySelectorAll('[role=option]')].map((hit) => hit.innerText.split('\\n')[0])"


def test_general_words_find_apply_first(desk):
    page = desk.page
    open_search(page)
    found = {}
    for word in FIRST + FIRST_OF_THE_PACK:
        page.keyboard.press("Control+a")
        page.keyboard.type(word)
        page.get_by_role("option").filter(has_text="DiCache Apply").first.wait_for()
        desk.settle()
        found[word] = page.evaluate(HITS)
    page.keyboard.press("Escape")
    assert [hits[0] for hits in (found[word] for word in FIRST)] == ["DiCache Apply"] * len(FIRST)
    for word in FIRST_OF_THE_PACK:
        assert next(hit for hit in found[word] if hit.startswith("DiCache")) == "DiCache Apply"


def test_menu_path(desk):
    page, info = desk.page, desk.object_info("DiCacheApply")
    page.mouse.click(700, 600, button="right")
    for entry in ["Add Node", *info["category"].split("/"), info["display_name"]]:
        page.locator(".litemenu-entry", has_text=re.compile(f"^{re.escape(entry)}$")).last.click()
    page.wait_for_function("app.graph.nodes.length === 1")
    assert page.evaluate("app.graph.nodes[0].type") == "DiCacheApply"


def test_tooltip_of_an_input(desk):
    desk.load("testbed_flux")
    desk.select("DiCacheApply")
    if desk.renderer == "classic":
        x, y = desk.page.evaluate(
            """() => {
                const node = app.graph.nodes.find((n) => n.type === "DiCacheApply");
                const widget = node.widgets.find((w) => w.name === "preset");
                const [x, y] = app.canvas.ds.offset;
                return [node.pos[0] + x + 60, node.pos[1] + y + widget.y + 10];
            }"""
        )
        desk.page.mouse.move(x - 5, y)
        desk.page.mouse.move(x, y)
    else:
        desk.page.locator(".lg-node-widgets").get_by_text("preset", exact=True).first.hover()
    tooltip = desk.object_info("DiCacheApply")["input"]["optional"]["preset"][1]["tooltip"]
    desk.page.locator(".node-tooltip, .p-tooltip, [role=tooltip]").get_by_text(tooltip).first.wait_for()
    desk.screenshot("tooltip")


@pytest.mark.parametrize("node", ["DiCacheApply", "DiCacheReport"])
def test_help_page(desk, node):
    desk.load("testbed_flux")
    desk.select(node)
    desk.page.locator("[data-testid=info-button], [data-testid=help-button]").first.click()
    display_name = desk.object_info(node)["display_name"]
    desk.page.get_by_role("heading", name=display_name, exact=True).first.wait_for()
    desk.page.get_by_role("heading", name="Outputs").first.wait_for()
    if node == "DiCacheApply":
        desk.page.get_by_role("img", name="A finished run on the strip").wait_for()
        desk.page.wait_for_function(PICTURE_LOADED)
        desk.screenshot("help")


@pytest.mark.parametrize(
    ("language", "title", "heading", "strip"),
    [("zh", "应用 DiCache", "选哪个预设？", "尚未运行"), ("ja", "DiCache を適用", "どのプリセット？", "未実行")],
)
def test_another_language(browser, server, language, title, heading, strip):
    post(f"{server.url}/history", {"clear": True})  # else the strip shows another test's run of the same graph
    desk = Desk(browser, server.url, "nodes2", {"Comfy.Locale": language})
    desk.load("testbed_flux")
    desk.select("DiCacheApply")
    assert desk.page.evaluate("app.graph.nodes.find((n) => n.type === 'DiCacheApply').title") == title
    assert strip in desk.label()
    desk.page.locator("[data-testid=info-button]").click()
    desk.page.get_by_role("heading", name=heading).wait_for()
    desk.page.wait_for_function(PICTURE_LOADED)
    desk.screenshot(f"language_{language}")
    assert not desk.complaints_about_pack
    desk.close()
