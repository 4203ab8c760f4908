"""Fixtures of the front end's tests: a browser, and a desk in it that is used like a user's."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import find_browser
from comfy_server import CELLS, ComfyServer
from desk import LAUNCH, RENDERERS, Desk
from provision import NEWEST, newest_frontend

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


@pytest.fixture(scope="session")
def newest_front_end(host) -> tuple[str, ...]:
    """ComfyUI's arguments for the newest front end: who runs that has a recent ComfyUI."""
    if [int(part) for part in host.version.split(".")] < [int(part) for part in NEWEST.split(".")]:
        pytest.skip(f"ComfyUI {host.version} is not used with the newest front end")
    return ("--front-end-root", newest_frontend())


@pytest.fixture(scope="session")
def newest_server(host, newest_front_end):
    """As ``server``, with the newest front end."""
    with ComfyServer(host, arguments=newest_front_end, cells=CELLS) as server:
        yield server


@pytest.fixture(scope="module", params=["pinned", "newest"])
def site(request, host):
    """The server with the front end that its ComfyUI pins, and with the newest one."""
    return request.getfixturevalue({"pinned": "server", "newest": "newest_server"}[request.param])


@pytest.fixture(params=RENDERERS)
def renderer(request: pytest.FixtureRequest) -> str:
    """Both ways in which the front end draws nodes; see ``DESKS``."""
    return request.param


# Two front ends, and two ways in which each draws nodes: that makes two desks, each of which has one of both.
DESKS = (("pinned", "nodes2"), ("newest", "classic"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the other two desks, but for the tests marked ``every_desk``."""
    left_out = {item for item in items if _desk_of(item) not in (*DESKS, None) and not _on_every_desk(item)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _on_every_desk(item: pytest.Item) -> bool:
    return item.get_closest_marker("every_desk") is not None


def _desk_of(item: pytest.Item) -> tuple[str, str] | None:
    """Front end and renderer of a test that is run for each of both."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return (params["site"], params["renderer"]) if {"site", "renderer"} <= set(params) else None


@pytest.fixture(scope="module")
def desks(browser, site):
    """The open pages by renderer: loading one takes seconds, so tests share them and begin with a blank workflow."""
    desks: dict[str, Desk] = {}
    yield desks
    for desk in desks.values():
        desk.close()


@pytest.fixture
def desk(request, browser, site, renderer, desks):
    """A page with nothing on the canvas; at the end nothing in it may have complained about the pack."""
    if renderer not in desks:
        desks[renderer] = Desk(browser, site.url, renderer)
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


@pytest.fixture(scope="module")
def example_image(site) -> None:
    """The picture that every ComfyUI has in its input folder."""
    shutil.copy(Path(site.host.comfy) / "input" / "example.png", site.base / "input")
