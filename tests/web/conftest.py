"""Fixtures of the front end's tests: a browser, and a desk in it that is used like a user's."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import find_browser
from desk import LAUNCH, RENDERERS, Desk

FAILED = pytest.StashKey[bool]()


# One for each module and not for the session: while Playwright's synchronous interface is open, no other test can use
# asyncio in this thread.
@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=LAUNCH)
        yield browser
        browser.close()


@pytest.fixture(params=RENDERERS)
def renderer(request: pytest.FixtureRequest) -> str:
    """Both ways in which the front end draws nodes."""
    return request.param


@pytest.fixture(scope="module")
def desks(browser, server):
    """The open pages by renderer: loading one takes seconds, so tests share them and begin with a blank workflow."""
    desks: dict[str, Desk] = {}
    yield desks
    for desk in desks.values():
        desk.close()


@pytest.fixture
def desk(request, browser, server, renderer, desks):
    """A page with nothing on the canvas; at the end nothing in it may have complained about the pack."""
    if renderer not in desks:
        desks[renderer] = Desk(browser, server.url, renderer)
    desk = desks[renderer]
    desk.clear()
    yield desk
    complaints = desk.complaints_about_pack
    if complaints or request.node.stash.get(FAILED, False):
        desk.screenshot(f"failed_{request.node.originalname}")
        desks.pop(renderer).close()  # the next test gets a page without this one's open menus
    assert not complaints, "\n".join(complaints)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def example_image(server) -> None:
    """The picture that every ComfyUI has in its input folder."""
    shutil.copy(Path(server.host.comfy) / "input" / "example.png", server.base / "input")
