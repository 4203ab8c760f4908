"""What somebody has who installs the published archive: help, templates and a usable node, in both front ends.

In the front end that ComfyUI pins and in the newest one, without an error in the browser's console.
"""

import json
import re
import shutil
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest
from archive import REPO, build
from comfy_server import CELLS, ComfyServer
from desk import TESTBED_FOLDER, WORKFLOWS, Desk
from layout import PACK
from provision import NEWEST_FRONTEND

pytestmark = pytest.mark.browser

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
NODES = sorted(path.stem for path in (REPO / "web" / "docs").glob("*.md"))
# A fresh ComfyUI has no files of a user yet, and no test fetches the weights that a template asks for.
NOT_OF_THE_PACK = re.compile(r"404 .*/(user\.css|api/userdata\b)|huggingface\.co")
IN_A_SUBGRAPH = """() => {
    const inside = app.graph.nodes.filter((node) => node.subgraph).flatMap((node) => node.subgraph.nodes);
    return inside.map((node) => node.type);
}"""


@pytest.fixture(scope="module", params=["pinned", "newest"])
def front_end(request, host):
    """Arguments for ComfyUI."""
    if request.param == "pinned":
        return ()
    return request.getfixturevalue("newest_front_end")


@pytest.fixture(scope="module")
def installed(host, front_end, tmp_path_factory):
    """The server of a ComfyUI that the archive was installed in."""
    if not (REPO / ".git").exists():
        pytest.skip("no git checkout: nothing tells which files belong to the pack")
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(build(folder / "pack.zip")) as packed:
        packed.extractall(folder / "pack")
    with ComfyServer(host, arguments=front_end, pack=folder / "pack", cells=CELLS) as server:
        shutil.copy(Path(host.comfy) / "input" / "example.png", server.base / "input")  # every ComfyUI has it
        yield server


@pytest.fixture(scope="module")
def page_of(browser, installed):
    desk = Desk(browser, installed.url, "nodes2")
    yield desk
    desk.close()


@pytest.fixture
def one_desk(page_of):
    page_of.clear()
    return page_of


def errors(desk: Desk) -> list[str]:
    """What the console has as errors, exceptions that nobody caught among them."""
    return [text for text in desk.complaints if not text.startswith("warning") and not NOT_OF_THE_PACK.search(text)]


def test_the_page_opens_without_an_error(browser, installed, front_end):
    desk = Desk(browser, installed.url, "nodes2")
    assert (desk.version == NEWEST_FRONTEND.partition("==")[2]) == bool(front_end)
    # The pinned one looks at its graph too early itself, in code that its version 1.58 no longer has.
    assert [text for text in errors(desk) if front_end or "graph accessed before" not in text] == []
    desk.close()


@pytest.mark.parametrize("node", NODES)
def test_the_help_of_every_node_opens(one_desk, node):
    one_desk.page.evaluate("(type) => { app.graph.add(LiteGraph.createNode(type)); }", node)
    one_desk.select(node)
    one_desk.page.locator("[data-testid=info-button], [data-testid=help-button]").first.click()
    name = one_desk.object_info(node)["display_name"]
    one_desk.page.get_by_role("heading", name=name, exact=True).first.wait_for()
    one_desk.page.get_by_role("heading", name="Outputs").first.wait_for()
    assert errors(one_desk) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_template_opens_and_its_nodes_can_be_copied(one_desk, installed, name):
    text = installed.get(f"/api/workflow_templates/{PACK}/{quote(name)}.json").decode()
    one_desk.drop(f"{name}.json", text)
    types = {node["type"] for node in json.loads(text)["nodes"]}
    node = "DiCacheApply" if "DiCacheApply" in types else "DiCacheCompare"
    copy_paste_undo(one_desk, node)
    into_a_subgraph(one_desk, node)
    assert errors(one_desk) == []


def copy_paste_undo(desk: Desk, node: str) -> None:
    """Ctrl+C, Ctrl+V, Ctrl+Z."""
    before = desk.page.evaluate("app.graph.nodes.length")
    desk.select(node)
    desk.page.keyboard.press("Control+c")
    desk.page.mouse.move(900, 700)
    desk.page.keyboard.press("Control+v")
    desk.page.wait_for_function("(count) => app.graph.nodes.length === count", arg=before + 1)
    desk.settle()
    desk.page.keyboard.press("Control+z")
    desk.page.wait_for_function("(count) => app.graph.nodes.length === count", arg=before)
    desk.settle()


def into_a_subgraph(desk: Desk, node: str) -> None:
    desk.select(node)
    desk.page.evaluate("app.extensionManager.command.execute('Comfy.Graph.ConvertToSubgraph')")
    desk.page.wait_for_function(f"JSON.stringify(({IN_A_SUBGRAPH})()) === '[\"{node}\"]'")
    desk.settle()


def test_a_copied_node_in_a_subgraph_runs(one_desk):
    """The testbed's graph in place of a template: nobody has the weights of those at hand."""
    file = TESTBED_FOLDER / "testbed_flux.json"
    one_desk.drop(file.name, file.read_text(encoding="utf-8"))
    copy_paste_undo(one_desk, "DiCacheApply")
    into_a_subgraph(one_desk, "DiCacheApply")
    one_desk.page.evaluate(
        """() => {
            window.said = [];
            app.api.addEventListener("dicache.step", ({ detail }) => said.push(detail));
            app.api.addEventListener("execution_error", ({ detail }) => said.push({ error: detail }));
        }"""
    )
    one_desk.set_widget("KSampler", {"seed": 61_000, "steps": 12})
    one_desk.run()
    one_desk.page.wait_for_function("said.some((event) => event.finished || event.error)")
    last = one_desk.page.evaluate("said.at(-1)")
    assert last["finished"], last
    assert ":" in last["node"], "the node inside of the subgraph"
    assert last["reused"] > 0
    assert errors(one_desk) == []
