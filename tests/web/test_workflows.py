"""Every example workflow loads in the real front end, and the server accepts its prompt but for missing model files."""

import json
import urllib.error
import uuid

import pytest
from desk import WORKFLOWS, Desk, post
from workflows import WORKFLOWS as SPECIFICATIONS

pytestmark = pytest.mark.browser

MODEL_INPUTS = {"unet_name", "clip_name", "clip_name1", "clip_name2", "vae_name", "ckpt_name", "text_encoder"}
FROM_OTHERS = ("clip_l", "t5xxl", "sd_xl_base", "ltx-2")  # files that ComfyUI's templates take from their authors
NOTES = ("Note", "MarkdownNote")
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


PROMPT = """async () => {
    app.graph.nodes.forEach((node) => { node.mode = 0; });
    return (await app.graphToPrompt()).output;
}"""


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_validates(one_desk, server, name):
    """With the muted group switched on, too; and the values, which are saved by position, are in their places."""
    one_desk.load(name)
    before = one_desk.page.evaluate("async () => (await app.graphToPrompt()).output")
    assert not [key for key, node in before.items() if "without" in str(node["inputs"].get("filename_prefix"))]
    assert one_desk.page.evaluate("app.graph.nodes.filter((n) => n.has_errors && !n.comfyClass).length") == 0
    prompt = one_desk.page.evaluate(PROMPT)
    assert len(prompt) == len([node for node in read(name)["nodes"] if node["type"] not in NOTES])
    complaints = complaints_of_server(server.url, prompt)
    missing_models = [c for c in complaints if c[1] == "value_not_in_list" and c[2] in MODEL_INPUTS]
    assert complaints == missing_models
    assert missing_models
    for node in nodes_of(name):
        settings = {key: value for key, value in node.widgets.items() if key != "control_after_generate"}
        same_type = [entry["inputs"] for entry in prompt.values() if entry["class_type"] == node.type]
        assert any(settings.items() <= inputs.items() for inputs in same_type), f"{node.key}: {settings} in {same_type}"


def nodes_of(name: str) -> list:
    specification = SPECIFICATIONS[name]()
    columns = [*specification.columns, *specification.without]
    return [node for column in columns for node in column if not node.type.endswith("Note")]


@pytest.mark.parametrize("name", NAMES)
def test_the_packs_nodes_have_what_their_schemas_say(one_desk, name):
    """Where a specification does not say otherwise: a file made before an input changed is found here."""
    said = {}
    for node in nodes_of(name):
        if node.type.startswith("DiCache"):
            said.setdefault(node.type, set()).update([*node.widgets, *node.inputs])
    for node in read(name)["nodes"]:
        if not node["type"].startswith("DiCache"):
            continue
        groups = one_desk.object_info(node["type"])["input"]
        specs = {key: spec for group in groups.values() for key, spec in group.items()}
        widgets = [key for key, spec in specs.items() if spec[0] in ("INT", "FLOAT", "STRING", "COMBO", "BOOLEAN")]
        values = [v for v in node.get("widgets_values", []) if v not in ("fixed", "randomize")]
        assert len(values) == len(widgets), f"run tests/web/make_workflows.py: {node['type']} has {values}"
        for key, value in zip(widgets, values, strict=True):
            if key not in said[node["type"]]:
                assert value == specs[key][1].get("default", value), f"run tests/web/make_workflows.py: {key}"


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_ready_to_share(name):
    workflow = read(name)
    types = [node["type"] for node in workflow["nodes"]]
    assert {"DiCacheApply", "DiCacheCompare"} & set(types)
    assert not [kind for kind in types if "Testbed" in kind], "every node comes with ComfyUI or with the pack"
    assert ("DiCacheReport" in types) == ("DiCacheApply" in types) == bool(workflow["groups"])
    (note,) = [node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == "MarkdownNote"]
    assert all(part in note for part in ("**Files**", "ComfyUI/models/", "**Memory**", "**Licence of the model**"))
    for loader in [node for node in workflow["nodes"] if "Loader" in node["type"]]:
        files = {file["name"]: file for file in loader["properties"]["models"]}
        chosen = {v for v in loader["widgets_values"] if str(v).endswith(".safetensors")}
        assert set(files) == chosen, "every file can be downloaded from the front end"
        for file in files.values():
            assert f"[{file['name']}]({file['url']})" in note
            assert file["url"].startswith("https://huggingface.co/Comfy-Org/") or file["name"].startswith(FROM_OTHERS)


@pytest.mark.parametrize("name", NAMES)
def test_the_group_is_the_graph_without_dicache(name):
    """The muted sampler gets everything that the other gets, the model without its cache in between."""
    specification = SPECIFICATIONS[name]()
    nodes = {node.key: node for column in specification.columns for node in column}
    for copy in [node for column in specification.without for node in column]:
        original = nodes[copy.key.removesuffix("_plain")]
        assert copy.mode == 2
        assert {**copy.widgets, "filename_prefix": 0} == {**original.widgets, "filename_prefix": 0}
        for key, (source, _) in copy.inputs.items():
            assert not source.startswith("dicache"), f"{copy.key}.{key}"


@pytest.mark.parametrize("name", NAMES)
def test_the_template_browser_finds_it(server, name):
    templates = json.loads(server.get("/workflow_templates"))
    assert name in templates["ComfyUI-DiCache"]
    assert json.loads(server.get(f"/api/workflow_templates/ComfyUI-DiCache/{name}.json")) == read(name)
    picture = server.get(f"/api/workflow_templates/ComfyUI-DiCache/{name}.jpg")
    assert picture[:2] == b"\xff\xd8", "a JPEG"
    assert len(picture) < 80_000


def test_they_are_numbered_in_the_order_of_the_menu():
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def test_every_model_of_the_contract_has_one():
    for model in (
        "qwen_image",
        "z_image",
        "ltx2",
        "sdxl",
        "wan22_i2v",
        "chroma",
        "hunyuan_video15",
        "policy",
        "custom",
    ):
        assert any(model in name for name in NAMES), model
