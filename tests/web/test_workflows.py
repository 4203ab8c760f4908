"""Every example workflow loads in the real front end, and the server accepts its prompt but for missing model files."""

import json
import sys
import urllib.error
import urllib.parse
import uuid
from difflib import unified_diff

import pytest
from desk import RENDERERS, REPO, WORKFLOWS, Desk, post
from make_workflows import as_text
from PIL import Image, ImageChops, ImageStat
from provision import NEWEST
from thumbnails import HEADER, SIDE
from workflows import WORKFLOWS as SPECIFICATIONS

sys.path.append(str(REPO / "tools" / "real"))
from api_prompt import api_prompt

pytestmark = pytest.mark.browser

MODEL_INPUTS = {
    "unet_name",
    "clip_name",
    "clip_name1",
    "clip_name2",
    "vae_name",
    "ckpt_name",
    "text_encoder",
    "lora_name",
}
FROM_OTHERS = ("clip_l", "t5xxl", "sd_xl_base", "ltx-2")  # files that ComfyUI's templates take from their authors
NOTES = ("Note", "MarkdownNote")
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))


@pytest.fixture(scope="module")
def one_desk(browser, site, example_image):
    """One page for all of them: each is dropped into a tab of its own."""
    desk = Desk(browser, site.url, "nodes2")
    yield desk
    complaints = desk.complaints_about_pack
    desk.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="module")
def info(site) -> dict:
    """What the server says of every node."""
    return json.loads(site.get("/object_info"))


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


def test_building_them_one_after_the_other_gives_the_files(browser, server):
    """The front end that wrote them hands nothing on from one to the next."""
    if server.host.version != NEWEST:
        pytest.skip(f"they are written in the front end of ComfyUI {NEWEST}")
    desk = Desk(browser, server.url, "nodes2")
    for name in NAMES:
        desk.clear()
        file = (WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")
        built = as_text(desk, name, SPECIFICATIONS[name]())
        apart = "\n".join(unified_diff(file.splitlines(), built.splitlines(), lineterm="", n=1))
        assert not apart, f"run tests/web/make_workflows.py {name}\n{apart}"
    desk.close()


PROMPT = """async () => {
    app.graph.nodes.forEach((node) => { node.mode = 0; });
    return (await app.graphToPrompt()).output;
}"""


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_and_validates(one_desk, site, info, name):
    """With the muted group switched on, too; and the values, which are saved by position, are in their places."""
    one_desk.load(name)
    before = one_desk.page.evaluate("async () => (await app.graphToPrompt()).output")
    assert api_prompt(read(name), info) == {
        key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in before.items()
    }, "a script that has no front end reads the file as it does"
    assert not [key for key, node in before.items() if "without" in str(node["inputs"].get("filename_prefix"))]
    assert one_desk.page.evaluate("app.graph.nodes.filter((n) => n.has_errors && !n.comfyClass).length") == 0
    prompt = one_desk.page.evaluate(PROMPT)
    assert len(prompt) == len([node for node in read(name)["nodes"] if node["type"] not in NOTES])
    complaints = complaints_of_server(site.url, prompt)
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
    without = [group for group in workflow["groups"] if "without DiCache: select" in group["title"]]
    assert ("DiCacheReport" in types) == ("DiCacheApply" in types) == bool(without)
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
    address = f"/api/workflow_templates/ComfyUI-DiCache/{urllib.parse.quote(name)}"
    assert json.loads(server.get(f"{address}.json")) == read(name)
    image = server.get(f"{address}.jpg")
    assert image[:2] == b"\xff\xd8", "a JPEG"
    assert len(image) < 80_000


def test_they_are_numbered_in_the_order_of_the_menu():
    assert [int(name[:2]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def test_every_model_of_the_contract_has_one():
    wanted = (
        "Flux.1 dev", "Kontext", "Flux.2", "Chroma", "Qwen-Image", "Qwen-Image-Edit", "Z-Image", "SDXL",
        "dpmpp_2m_sde", "Wan 2.1", "image to video", "4-step LoRAs", "HunyuanVideo 1.5", "LTX-2", "MagCache", "Custom",
        "Compare", "Tune",
    )  # fmt: skip
    assert not [model for model in wanted if not any(model in name for name in NAMES)]


def card(name: str) -> Image.Image:
    with Image.open(WORKFLOWS / f"{name}.jpg") as image:
        return image.convert("RGB")


def test_cards_differ_and_leave_the_badges_corner_free():
    cards = {name: card(name) for name in NAMES}
    for name, image in cards.items():
        assert image.size == (SIDE, SIDE)
        corner = image.crop((0, 0, SIDE // 2, HEADER[0] - 8)).convert("L").getextrema()
        assert corner[1] < 60, f"{name}: something lies where the front end puts its badge"
    for number, (first, image) in enumerate(cards.items()):
        for other in NAMES[:number]:
            differing = ImageStat.Stat(ImageChops.difference(image, cards[other]).convert("L")).mean[0]
            assert differing > 0.3, f"{first} looks like {other}"


LEGIBLE = 11  # pixels on the screen
OPENED = """() => {
    const scale = app.canvas.ds.scale;
    const heading = [...document.querySelectorAll("h1")].find((h) => h.closest(".lg-node"));
    const font = heading.querySelector("font") ?? heading;
    return { text: heading.textContent, size: parseFloat(getComputedStyle(font).fontSize) * scale };
}"""


NOTES = "(text) => app.graph.nodes.some((n) => n.type === 'MarkdownNote' && n.widgets[0].value.includes(text))"


@pytest.mark.parametrize("renderer", RENDERERS)
def test_opened_from_the_browser_it_says_legibly_what_to_do(browser, site, renderer):
    """Found by its title in words, and at the zoom that the front end chooses."""
    desk = Desk(browser, site.url, renderer)
    page = desk.page
    for name in (NAMES[0], next(n for n in NAMES if "4-step LoRAs" in n), next(n for n in NAMES if "Compare" in n)):
        page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        page.get_by_text("ComfyUI-DiCache").first.click()
        page.get_by_text(name, exact=True).first.wait_for()
        desk.screenshot(f"templates_{name[:2]}")
        page.get_by_text(name, exact=True).first.click()
        nodes = len(read(name)["nodes"])
        page.wait_for_function("(count) => app.graph.nodes.length === count", arg=nodes)
        page.wait_for_timeout(1500)  # the view glides to the whole graph
        page.keyboard.press("Escape")
        headline = SPECIFICATIONS[name]().headline
        if renderer == "nodes2":
            opened = page.evaluate(OPENED)
            assert opened["text"].strip() == headline
            assert opened["size"] >= LEGIBLE
        else:  # the classic one gives a heading 20 pixels, whatever is asked for, and draws none where these are few
            assert page.evaluate(NOTES, headline)
        desk.screenshot(f"template_{name[:2]}")
    assert not desk.complaints_about_pack
    desk.close()
