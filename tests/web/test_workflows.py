"""Every example workflow loads in the real front end, and the server accepts its prompt but for missing model files."""

import json
import urllib.error
import uuid

import pytest
from desk import WORKFLOWS, Desk, post
from workflows import WORKFLOWS as SPECIFICATIONS

pytestmark = pytest.mark.browser

MODEL_INPUTS = {"unet_name", "clip_name", "clip_name1", "clip_name2", "vae_name"}
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))


@pytest.fixture(scope="module")
def one_desk(browser, server, example_image):
    """One page for all of them: each is dropped into a tab of its own."""
    desk = Desk(browser, server.url, "nodes2")
    yield desk
    complaints = desk.complaints_about_pack
    desk.close()
    assert not complaints, "\n".join(complaints)


def read(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def complaints_of_server(url: str, prompt: dict) -> list[tuple[str, str, str]]:
    """(node type, kind of complaint, input) of what the server says about a prompt.

    A prompt with an output that can run is queued: it is taken back at once.
    """
    try:
        errors = post(f"{url}/prompt", {"prompt": prompt, "client_id": uuid.uuid4().hex})["node_errors"]
        post(f"{url}/queue", {"clear": True})
        post(f"{url}/interrupt", {})
    except urllib.error.HTTPError as refusal:
        errors = json.loads(refusal.read())["node_errors"]
    return [
        (error["class_type"], complaint["type"], complaint["extra_info"].get("input_name", ""))
        for error in errors.values()
        for complaint in error["errors"]
    ]


def test_the_folder_holds_what_the_specifications_build():
    assert set(NAMES) == set(SPECIFICATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_validates(one_desk, server, name):
    one_desk.load(name)
    prompt = one_desk.page.evaluate("async () => (await app.graphToPrompt()).output")
    notes = ("Note", "MarkdownNote")
    assert len(prompt) == len([node for node in read(name)["nodes"] if node["type"] not in notes])
    complaints = complaints_of_server(server.url, prompt)
    missing_models = [c for c in complaints if c[1] == "value_not_in_list" and c[2] in MODEL_INPUTS]
    assert complaints == missing_models
    assert bool(missing_models) != name.startswith("testbed")


@pytest.mark.parametrize("name", NAMES)
def test_dropped_values_arrive(one_desk, name):
    """A change of a node's inputs would shift the values, which are saved by position."""
    one_desk.load(name)
    prompt = one_desk.page.evaluate("async () => (await app.graphToPrompt()).output")
    specified = [node for column in SPECIFICATIONS[name]() for node in column if not node.type.endswith("Note")]
    for node in specified:
        settings = {key: value for key, value in node.widgets.items() if key != "control_after_generate"}
        same_type = [entry["inputs"] for entry in prompt.values() if entry["class_type"] == node.type]
        assert any(settings.items() <= inputs.items() for inputs in same_type), f"{node.key}: {settings} in {same_type}"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_ready_to_share(name):
    workflow = read(name)
    types = [node["type"] for node in workflow["nodes"]]
    assert {"DiCacheApply", "DiCacheCompare"} & set(types)
    assert {"Note", "MarkdownNote"} & set(types)
    loaders = [node for node in workflow["nodes"] if "Loader" in node["type"]]
    if not name.startswith("testbed"):
        for loader in loaders:
            files = {file["name"]: file for file in loader["properties"]["models"]}
            chosen = {v for v in loader["widgets_values"] if str(v).endswith(".safetensors")}
            assert set(files) == chosen, "every file can be downloaded from the front end"
            assert all(
                file["url"].startswith("https://huggingface.co/Comfy")
                for file in files.values()
                if "clip_l" not in file["name"] and "t5xxl" not in file["name"]
            )


@pytest.mark.parametrize("name", NAMES)
def test_the_template_browser_finds_it(server, name):
    templates = json.loads(server.get("/workflow_templates"))
    assert name in templates["ComfyUI-DiCache"]
    assert json.loads(server.get(f"/api/workflow_templates/ComfyUI-DiCache/{name}.json")) == read(name)
    picture = server.get(f"/api/workflow_templates/ComfyUI-DiCache/{name}.jpg")
    assert picture[:2] == b"\xff\xd8", "a JPEG"
    assert len(picture) < 80_000
