"""Fixtures of the front end's tests: a browser, and a desk in it that is used like a user's."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from conftest import find_browser
from desk import LAUNCH, RENDERERS, Desk


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


@pytest.fixture
def desk(browser, server, renderer):
    """A fresh page; at the end nothing in it may have complained about the pack."""
    desk = Desk(browser, server.url, renderer)
    yield desk
    complaints = desk.complaints_about_pack
    desk.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="session")
def example_image(server) -> None:
    """The picture that every ComfyUI has in its input folder."""
    shutil.copy(Path(server.host.comfy) / "input" / "example.png", server.base / "input")
