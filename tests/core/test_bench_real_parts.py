"""The parts of tools/real/ by hand: a workflow file as a prompt, the ways, the measures, the table."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools" / "real"))
import measures
from api_prompt import WorkflowError, api_prompt
from comfy_client import Place
from real_table import table
from ways import BALANCED, EASYCACHE, FEWER, SHOWN, WITHOUT, Bench

REPO = Path(__file__).resolve().parents[2]


def node(inputs: dict, *outputs: str, names: tuple[str, ...] = ()) -> dict:
    """What /object_info says of a node; inputs as name -> type, or [type, options]."""
    specs = {name: spec if isinstance(spec, list) else [spec] for name, spec in inputs.items()}
    return {"input": {"required": specs}, "output": outputs, "output_name": names or outputs}


BOTH = ("positive", "negative")
INFO = {
    "Loader": node({"name": [["a", "b"], {}]}, "MODEL"),
    "Size": node({"value": "INT"}, "INT"),
    "Picture": node({"image": [["a.png"], {"image_upload": True}]}, "IMAGE"),
    "Encode": node({"text": ["STRING", {"multiline": True}]}, "CONDITIONING"),
    "Both": node(dict.fromkeys(BOTH, "CONDITIONING"), "CONDITIONING", "CONDITIONING", names=BOTH),
    "DiCacheApply": node({"model": "MODEL", "preset": ["COMBO", {"default": "balanced"}]}, "MODEL"),
    "Latent": node({"width": ["FLOAT,INT", {"default": 8, "widgetType": "INT"}]}, "LATENT"),
    "Sampler": node(
        {"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING", "latent": "LATENT", "seed": "INT",
         "steps": "INT", "start_at_step": "INT", "end_at_step": "INT"},
        "LATENT",
    ),
    "Decode": node({"samples": "LATENT"}, "IMAGE"),
    "Save": node({"images": "IMAGE", "prefix": "STRING"}),
    "PreviewImage": node({"images": "IMAGE"}),
}  # fmt: skip


def two_experts() -> dict:
    """Two samplers that share a schedule of 20 steps, each with a cache, behind a node that changes both conds."""

    def sampler(apply: str, latent: str, start: int, end: int) -> dict:
        links = {"model": [apply, 0], "positive": ["both", 0], "negative": ["both", 1], "latent": [latent, 0]}
        return {**links, "seed": 1, "steps": ["count", 0], "start_at_step": start, "end_at_step": end}

    return {
        "first": {"class_type": "Loader", "inputs": {"name": "a"}},
        "second": {"class_type": "Loader", "inputs": {"name": "b"}},
        "count": {"class_type": "Size", "inputs": {"value": 20}},
        "good": {"class_type": "Encode", "inputs": {"text": "mine"}},
        "bad": {"class_type": "Encode", "inputs": {"text": "ugly"}},
        "both": {"class_type": "Both", "inputs": {"positive": ["good", 0], "negative": ["bad", 0]}},
        "cache 1": {"class_type": "DiCacheApply", "inputs": {"model": ["first", 0], "preset": "fast"}},
        "cache 2": {"class_type": "DiCacheApply", "inputs": {"model": ["second", 0], "preset": "fast"}},
        "latent": {"class_type": "Latent", "inputs": {"width": 8}},
        "high": {"class_type": "Sampler", "inputs": sampler("cache 1", "latent", 0, 8)},
        "low": {"class_type": "Sampler", "inputs": sampler("cache 2", "high", 8, 10000)},
        "decode": {"class_type": "Decode", "inputs": {"samples": ["low", 0]}},
        "save": {"class_type": "Save", "inputs": {"images": ["decode", 0], "prefix": "x"}},
    }


def saved(*nodes: dict, links: list) -> dict:
    return {"nodes": list(nodes), "links": links}


def test_a_saved_workflow_by_hand():
    """A seed's control, a bypassed cache, a reroute, a primitive, a note and a muted branch."""
    workflow = saved(
        {"id": 1, "type": "Loader", "widgets_values": ["b"]},
        {
            "id": 2, "type": "DiCacheApply", "mode": 4, "widgets_values": ["fast"],
            "inputs": [{"name": "model", "type": "MODEL", "link": 1}],
        },
        {"id": 3, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 2}]},
        {"id": 4, "type": "PrimitiveNode", "widgets_values": [12, "fixed"]},
        {"id": 5, "type": "Note", "widgets_values": ["mine"]},
        {"id": 6, "type": "Latent", "mode": 2, "widgets_values": [64]},
        {
            "id": 7, "type": "Sampler", "widgets_values": [5, "randomize", 30, 0, 10000],
            "inputs": [
                {"name": "model", "type": "MODEL", "link": 3},
                {"name": "latent", "type": "LATENT", "link": 4},
                {"name": "steps", "type": "INT", "link": 5, "widget": {"name": "steps"}},
                {"name": "positive", "type": "CONDITIONING", "link": None},
            ],
        },
        links=[[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"], [3, 3, 0, 7, 0, "MODEL"],
               [4, 6, 0, 7, 1, "LATENT"], {"id": 5, "origin_id": 4, "origin_slot": 0, "type": "INT"}],
    )  # fmt: skip
    assert api_prompt(workflow, INFO) == {
        "1": {"class_type": "Loader", "inputs": {"name": "b"}},
        "7": {
            "class_type": "Sampler",
            "inputs": {"seed": 5, "steps": 12, "start_at_step": 0, "end_at_step": 10000, "model": ["1", 0]},
        },
    }


def test_a_choice_with_widgets_of_its_own():
    rate = {"required": {"crf": ["FLOAT", {"default": 23}]}}
    choices = [{"key": "auto", "inputs": {}}, {"key": "h264", "inputs": rate}]
    info = {"Video": node({"codec": ["COMFY_DYNAMICCOMBO_V3", {"options": choices}], "name": "STRING"})}
    for values, inputs in (
        (["auto", "x"], {"codec": "auto", "name": "x"}),
        (["h264", 18, "x"], {"codec": "h264", "codec.crf": 18, "name": "x"}),
    ):
        workflow = saved({"id": 1, "type": "Video", "widgets_values": values}, links=[])
        assert api_prompt(workflow, info)["1"]["inputs"] == inputs


def test_a_value_that_was_not_saved_is_the_default():
    workflow = saved({"id": 1, "type": "Latent", "widgets_values": []}, links=[])
    assert api_prompt(workflow, INFO)["1"]["inputs"] == {"width": 8}


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ({"a": 1}, "no workflow"),
        ([], "no workflow"),
        ({"1": {"class_type": "Other", "inputs": {}}}, "the server has no node Other"),
        (saved({"id": 1, "type": "Other"}, links=[]), "the server has no node Other"),
        ({**saved({"id": 1, "type": "s"}, links=[]), "definitions": {"subgraphs": [{"id": "s"}]}}, "has a subgraph"),
    ],
)
def test_what_is_no_workflow_is_told(workflow, words):
    with pytest.raises(WorkflowError, match=words):
        api_prompt(workflow, INFO)


def test_the_ways_of_a_workflow_by_hand():
    bench = Bench.of(two_experts(), INFO)
    assert bench.applies == ("cache 1", "cache 2")
    assert bench.samplers == {"high", "low"}
    assert bench.texts == (("good", "text"),), "and not the negative prompt"
    assert "save" not in bench.prompt
    assert bench.prompt[f"{SHOWN} decode"]["inputs"] == {"images": ["decode", 0]}

    ours = bench.seeded(7, "a fox")
    assert [ours.prompt[name]["inputs"]["seed"] for name in ("high", "low")] == [7, 7]
    assert (ours.prompt["good"]["inputs"]["text"], ours.prompt["bad"]["inputs"]["text"]) == ("a fox", "ugly")
    assert bench.prompt["good"]["inputs"]["text"] == "mine", "the next prompt begins with the user's workflow"

    without = bench.way(WITHOUT, {}, 0)
    assert not [n for n in without.values() if n["class_type"] == "DiCacheApply"]
    assert [without[name]["inputs"]["model"] for name in ("high", "low")] == [["first", 0], ["second", 0]]

    balanced = bench.way(BALANCED, {}, 0)
    assert balanced["cache 1"]["inputs"] == {"model": ["first", 0], "preset": "balanced"}

    computed = {"cache 1": 5, "cache 2": 6}  # of 22 calls
    counted = bench.way(EASYCACHE, computed, 22)
    for apply, count in computed.items():
        assert counted[apply]["inputs"]["policy"] == [f"{apply} policy", 0]
        policy = counted[f"{apply} policy"]["inputs"]
        assert (policy["policy"], policy["target"]) == ("easycache", str(count))

    fewer = bench.way(FEWER, computed, 22)
    steps = [[fewer[n]["inputs"][k] for k in ("steps", "start_at_step", "end_at_step")] for n in ("high", "low")]
    assert steps == [[10, 0, 4], [10, 4, 10000]]
    assert "cache 1" not in fewer


def changed(**nodes: dict | None) -> dict:
    """``two_experts`` with nodes put in, or taken out."""
    return {name: entry for name, entry in {**two_experts(), **nodes}.items() if entry}


def test_a_workflow_with_a_picture_keeps_its_prompt():
    picture = {"class_type": "Picture", "inputs": {"image": "a.png"}}
    latent = {"class_type": "Sees", "inputs": {"image": ["picture", 0]}}
    info = {**INFO, "Sees": node({"image": "IMAGE"}, "LATENT")}
    bench = Bench.of(changed(picture=picture, latent=latent), info)
    assert bench.texts == ()
    assert bench.seeded(7, "a fox").prompt["good"]["inputs"]["text"] == "mine"


def test_a_prompt_from_another_node_stays():
    text = {"class_type": "Encode", "inputs": {"text": ["count", 0]}}
    assert Bench.of(changed(good=text), INFO).texts == ()


COMPARE = {"class_type": "DiCacheCompare", "inputs": {"model": ["cache 1", 0]}}


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({"cache 1": None, "cache 2": None}, "no DiCache Apply"),
        ({"decode": None, "save": None}, "no node makes an image"),
        ({"low": COMPARE}, "come from DiCache Compare"),
        ({"count": {"class_type": "Latent", "inputs": {"width": 8}}}, "steps of Sampler .* comes from Latent"),
    ],
)
def test_a_workflow_that_cannot_be_compared_is_told(nodes, words):
    info = {**INFO, "DiCacheCompare": node({"model": "MODEL"}, "LATENT")}
    with pytest.raises(WorkflowError, match=words):
        Bench.of(changed(**nodes), info)


def noisy(frames: int = 2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    one = random.integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8)
    return one, np.clip(one.astype(int) + random.integers(-20, 21, one.shape), 0, 255).astype(np.uint8)


def test_psnr_and_ssim_are_those_of_others():
    one, other = noisy()
    assert measures.psnr(other, one) == pytest.approx(peak_signal_noise_ratio(one, other, data_range=255), abs=1e-4)
    published = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1)
    expected = [structural_similarity(a, b, **published) for a, b in zip(one, other, strict=True)]
    assert measures.ssim(other, one) == pytest.approx(np.mean(expected), abs=1e-4)
    assert (measures.psnr(one, one), measures.ssim(one, one)) == (None, pytest.approx(1.0))


def test_a_long_video_is_measured_from_end_to_end():
    frames = np.arange(81)[:, None, None, None]
    chosen = measures.some_frames(frames).ravel().tolist()
    assert (len(chosen), chosen[0], chosen[-1]) == (16, 0, 80)
    assert measures.some_frames(frames[:5]).ravel().tolist() == [0, 1, 2, 3, 4]


LPIPS = """
import torch

class LPIPS(torch.nn.Module):
    def __init__(self, net, verbose):
        super().__init__()
        assert net == "alex"

    def forward(self, one, other):
        assert one.shape == (1, 3, 24, 32)
        return (one - other).abs().amax(keepdim=True)
"""


@pytest.fixture
def lpips_stand_in(tmp_path, monkeypatch):
    """The package itself downloads weights."""
    (tmp_path / "lpips.py").write_text(LPIPS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    measures.lpips_measure.cache_clear()
    yield
    sys.modules.pop("lpips")
    measures.lpips_measure.cache_clear()


@pytest.mark.usefixtures("lpips_stand_in")
def test_lpips_gets_images_as_it_wants_them():
    black, white = np.zeros((1, 24, 32, 3), np.uint8), np.full((1, 24, 32, 3), 255, np.uint8)
    assert measures.lpips_measure()(black, white) == pytest.approx(2.0)


def test_a_place_names_no_folder():
    stats = {
        "system": {
            "os": "linux", "python_version": "3.12.3 (main) [GCC]", "pytorch_version": "2.11.0",
            "comfyui_version": "0.30.0", "argv": ["/home/ann/ComfyUI/main.py"],
        },
        "devices": [{"name": "cuda:0 NVIDIA H200 : cudaMallocAsync", "type": "cuda", "vram_total": 24 * 2**30}],
    }  # fmt: skip
    assert Place.of(stats) == Place("NVIDIA H200", 24.0, "linux", "3.12.3", "2.11.0", "0.30.0")


def run(prompt: int, way: str, seconds: float, psnr: float | None, closeness: str | None, computed: int | None) -> dict:
    told = {"closeness": closeness, "computed": computed, "evaluations": computed and 20}
    return {"prompt": prompt, "way": way, "sampling_seconds": seconds, "psnr": psnr, "ssim": 0.9, "lpips": None, **told}


def test_the_table_by_hand():
    runs = [
        run(0, "without", 10.0, None, None, None), run(0, "balanced", 5.0, 41.0, "very close", 10),
        {"prompt": 0, "way": "published", "failed": "ValueError"},
        run(1, "without", 12.0, None, None, None), run(1, "balanced", 4.0, 30.0, "close", 11),
        run(1, "fewer", 6.0, 20.0, None, 10),
    ]  # fmt: skip
    lines = table({"runs": runs}).splitlines()[2:]
    assert lines == [
        "| without | 20 | 11 s |  |  |  |  |  |",
        "| balanced | 10.5 | 2.50x | 35.5 | 30.0 | 0.900 | - | 1 of 2 |",
        "| fewer steps | 10 | 2.00x | 20.0 | 20.0 | 0.900 | - | - |",
    ]


def test_the_page_leads_to_the_form():
    page = (REPO / "docs" / "real.md").read_text(encoding="utf-8")
    (form,) = re.findall(r"issues/new\?template=([\w.]+)\)", page)
    text = (REPO / ".github" / "ISSUE_TEMPLATE" / form).read_text(encoding="utf-8")
    assert all(f"label: {name}" in text for name in ("bench-real.json", "sheet.jpg"))


def test_there_are_twenty_prompts_and_no_template_has_one():
    prompts = json.loads((REPO / "tools" / "real" / "prompts.json").read_text(encoding="utf-8"))
    assert len(prompts) == len(set(prompts)) == 20
    templates = "".join(p.read_text(encoding="utf-8") for p in (REPO / "example_workflows").glob("*.json"))
    assert not [prompt for prompt in prompts if prompt in templates]
