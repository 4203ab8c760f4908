"""A finished run as people see it: both renderers, both themes and every language, with a photograph of each.

English on every desk, the other languages in the newest front end, each with one renderer.  The photographs are
``output/web/looks_LANGUAGE_THEME_RENDERER_VERSION.png``; what can be measured on them is tested here.
"""

import json
from itertools import count

import pytest
from desk import RENDERERS, REPO, Desk

SAID = {"en": "steps skipped", "zh": "步中跳过", "zh-TW": "步中跳過", "ja": "をスキップ"}
COMBINATIONS = [
    *[(site, renderer, "en") for site in ("pinned", "newest") for renderer in RENDERERS],
    ("newest", "nodes2", "zh"),
    ("newest", "classic", "zh-TW"),
    ("newest", "nodes2", "ja"),
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.every_desk,
    pytest.mark.parametrize(("site", "renderer", "language"), COMBINATIONS, indirect=True, scope="module"),
]
SEEDS = count(40_000)
# Two letters are drawn as two different pictures, and not both as the box that stands for a missing one.
DRAWN_APART = """(strip, [one, other]) => {
    const draw = (letter) => {
        const canvas = new OffscreenCanvas(40, 40), context = canvas.getContext("2d");
        context.font = `30px ${getComputedStyle(strip).fontFamily}`;
        context.fillText(letter, 2, 32);
        return context.getImageData(0, 0, 40, 40).data.join();
    };
    return draw(one) !== draw(other) && draw(one) !== draw(" ");
}"""
# Texts that are cut off, by more than the pixel that rounding takes.
CUT_OFF = """(box) => {
    const parts = box.querySelectorAll(".text, .text > *, .settings, .legend, .legend > *, .title, .ticks");
    return [...parts].filter((part) => part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0)
        .map((part) => part.textContent);
}"""


@pytest.fixture(scope="module")
def language(request):
    return request.param


@pytest.fixture(scope="module")
def renderer(request):
    return request.param


@pytest.fixture(scope="module")
def ran(browser, site, renderer, language):
    """A desk in one language on which the testbed's graph has run."""
    desk = Desk(browser, site.url, renderer, {"Comfy.Locale": language})
    desk.load("testbed_flux")
    desk.set_widget("KSampler", {"seed": next(SEEDS), "steps": 12})
    desk.fit()
    desk.page.evaluate("app.queuePrompt(0)")  # the button's name is the language's own
    desk.wait_for_label(SAID[language])
    desk.page.locator(".dicache-report:visible .ticks").first.wait_for()
    yield desk
    assert not desk.complaints_about_pack
    desk.close()


@pytest.fixture(params=["dark", "light"])
def shown(request, ran, language):
    ran.set_setting("Comfy.ColorPalette", request.param)
    ran.fit()
    ran.page.mouse.move(20, 880)
    ran.theme = request.param
    ran.screenshot(f"looks_{language}_{request.param}")
    return ran


def test_it_says_it_in_the_language_and_nothing_is_cut_off(shown, language):
    assert SAID[language] in shown.label()
    report = shown.page.locator(".dicache-report:visible .run > .text").first.inner_text()
    assert SAID[language].replace("steps ", "") in report
    assert (language == "en") == ("s of sampling" in report)
    for box in (shown.strip.first.locator(".strip"), shown.page.locator(".dicache-report:visible .report").first):
        assert box.evaluate(CUT_OFF) == []


def test_its_letters_are_letters(shown, language):
    letters = {"en": "sk", "zh": "过步", "zh-TW": "過步", "ja": "をス"}[language]
    assert shown.strip.first.evaluate(DRAWN_APART, letters), "no font has them: `make browser` brings one"


def test_node_and_widgets_are_named_in_the_language(shown, language):
    folder = "en" if language == "zh-TW" else language  # only the strip knows traditional letters
    named = json.loads((REPO / "locales" / folder / "nodeDefs.json").read_text(encoding="utf-8"))["DiCacheApply"]
    title, labels = shown.page.evaluate(
        """() => {
            const node = app.graph.nodes.find((n) => n.type === "DiCacheApply");
            const labels = node.widgets.map((w) => [w.name, w.label ?? w.name]);
            return [node.title, Object.fromEntries(labels)];
        }"""
    )
    assert title == named["display_name"]
    for name in ("preset", "threshold", "warmup_steps"):
        assert labels[name] == named["inputs"][name].get("name", name)


def test_the_ground_follows_the_theme(shown):
    light = shown.strip.first.locator(".strip").evaluate(
        """(box) => {
            const context = new OffscreenCanvas(1, 1).getContext("2d");
            context.fillStyle = getComputedStyle(box).backgroundColor;
            context.fillRect(0, 0, 1, 1);
            return context.getImageData(0, 0, 1, 1).data[1];
        }"""
    )
    assert (light > 128) == (shown.theme == "light")
