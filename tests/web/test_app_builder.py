"""ComfyUI's app builder: a user chooses the inputs that an app shall have, by clicking widgets on nodes."""

import pytest
from playwright.sync_api import TimeoutError, expect

pytestmark = pytest.mark.browser


@pytest.fixture
def renderer() -> str:
    """The builder has its nodes drawn by this one, whatever the user's setting."""
    return "nodes2"


@pytest.fixture
def builder(desk):
    desk.load("testbed_flux")
    begin = desk.page.get_by_test_id("linear-welcome-build-app")
    for _ in range(5):  # a workflow that was just dropped in may still bring its own mode along
        desk.page.evaluate("app.extensionManager.command.execute('Comfy.ToggleLinear')")
        try:
            begin.click(timeout=10_000)
            break
        except TimeoutError:
            continue
    desk.fit()
    yield desk
    desk.page.get_by_role("button", name="Exit app builder").click()


def chosen(desk) -> list[str]:
    return desk.page.evaluate("(app.rootGraph.extra.linearData?.inputs ?? []).map(([, name]) => name)")


def click(desk, element) -> None:
    """Near its left edge, as a panel covers what stands on the right."""
    box = element.bounding_box()
    desk.page.mouse.click(box["x"] + 30, box["y"] + box["height"] / 2)


def test_what_is_no_input_cannot_be_chosen(builder):
    desk = builder
    for element in (desk.strip.first, desk.page.locator(".dicache-report:visible").first):
        click(desk, element)
    click(desk, desk.page.get_by_label("preset", exact=True).first)
    desk.page.wait_for_function("app.rootGraph.extra.linearData?.inputs.length")
    assert chosen(desk) == ["preset"]
    expect(desk.page.get_by_text("App builder mode")).to_be_visible()
    desk.screenshot("app_builder")
