"""Node ids, inputs, their order and defaults, and outputs are public: saved graphs depend on them."""

from pathlib import Path

import pytest

from dicache_core.policies import NAMED
from dicache_core.presets import MENU, PRESETS

SAMPLING = {
    "model": None,
    "positive": None,
    "negative": None,
    "latent_image": None,
    "seed": 0,
    "steps": 30,
    "cfg": 1.0,
    "sampler_name": "euler",
    "scheduler": "simple",
}  # of the nodes that sample by themselves
PUBLIC = {
    "DiCacheApply": {
        "required": {"model": None},
        "optional": {
            "preset": "balanced",
            "threshold": -1.0,
            "probe_depth": -1,
            "warmup_steps": -1,
            "start_percent": 0.0,
            "end_percent": 1.0,
            "max_consecutive": -1,
            "cache_device": "auto",
            "residual_bits": "16",
            "policy": None,
        },
        "outputs": [("MODEL", "MODEL"), ("DICACHE_STATS", "statistics")],
        "advanced": {
            "threshold",
            "probe_depth",
            "start_percent",
            "end_percent",
            "max_consecutive",
            "cache_device",
            "residual_bits",
        },
    },
    "DiCacheReport": {
        "required": {"after": None},
        "optional": {"statistics": None},
        "outputs": [("IMAGE", "plot"), ("STRING", "report")],
        "advanced": set(),
    },
    "DiCacheCompare": {
        "required": {
            **{key: value for key, value in SAMPLING.items() if key not in ("positive", "negative")},
            "denoise": 1.0,
            "settings": "published, balanced",
        },
        "optional": {
            "positive": None,
            "negative": None,
            "vae": None,
            "guider": None,
            "sampler": None,
            "sigmas": None,
            "low_noise_model": None,
            "switch_at": -1,
        },
        "outputs": [("LATENT", "latents"), ("IMAGE", "comparison sheet"), ("STRING", "report"), ("IMAGE", "images")],
        "advanced": {"switch_at"},
    },
    "DiCachePolicy": {
        "required": {"policy": "dicache", "target": "", "threshold": -1.0, "warmup_steps": -1},
        "optional": {"mask": "", "curve": "", "interval": -1},
        "outputs": [("DICACHE_POLICY", "policy")],
        "advanced": {"mask", "curve"},
    },
    "DiCacheTuning": {
        "required": {
            **{key: value for key, value in SAMPLING.items() if key not in ("positive", "negative")},
            "denoise": 1.0,
            "want": "looks the same",
            "speed": 2.0,
        },
        "optional": {
            "positive": None,
            "negative": None,
            "vae": None,
            "positive_2": None,
            "positive_3": None,
            "positive_4": None,
            "guider": None,
            "sampler": None,
            "sigmas": None,
            "low_noise_model": None,
            "switch_at": -1,
            "action": "tune",
            "plan_name": "my_plan",
        },
        "outputs": [
            ("DICACHE_POLICY", "policy"),
            ("IMAGE", "comparison sheet"),
            ("IMAGE", "plot"),
            ("STRING", "report"),
        ],
        "advanced": {"switch_at", "action", "plan_name"},
    },
    "DiCacheCalibrate": {
        "required": {**SAMPLING, "name": "calibration"},
        "optional": {},
        "outputs": [("COMBO", "calibration")],
        "advanced": set(),
    },
}
PUBLIC["DiCacheApplyRay"] = {
    **PUBLIC["DiCacheApply"],
    "required": {"ray_actors": None},
    "outputs": [("RAY_ACTORS", "ray_actors"), ("DICACHE_STATS", "statistics")],
}


@pytest.fixture
def info(comfy, pack):
    """Of a node; the one for Ray is there because a stand-in for raylight is, see tests/host/layout.py."""
    return lambda node: comfy.nodes.NODE_CLASS_MAPPINGS[node].GET_NODE_INFO_V1()


@pytest.mark.parametrize("node", PUBLIC)
def test_public_names_stay(info, node):
    found, public = info(node), PUBLIC[node]
    for category in ("required", "optional"):
        inputs = found["input"].get(category, {})
        assert list(inputs) == list(public[category])
        assert {name: options.get("default") for name, (_, options) in inputs.items()} == public[category]
    assert list(zip(found["output"], found["output_name"], strict=True)) == public["outputs"]


@pytest.mark.parametrize("node", PUBLIC)
def test_every_input_and_output_is_explained(info, node):
    found = info(node)
    inputs = {**found["input"]["required"], **found["input"].get("optional", {})}
    assert [name for name, (_, options) in inputs.items() if not options.get("tooltip")] == []
    assert all(found["output_tooltips"])
    assert found["description"]
    assert {name for name, (_, o) in inputs.items() if o.get("advanced")} == PUBLIC[node]["advanced"]


GENERAL = ["dicache", "cache", "speed up", "accelerate", "teacache", "magcache", "easycache", "faster"]


def test_general_words_find_apply_and_no_other_node(info):
    """Who knows none of the nodes gets the one to begin with."""
    found = {node: info(node)["search_aliases"] for node in PUBLIC}
    assert set(GENERAL) <= set(found.pop("DiCacheApply"))
    assert not [(node, word) for node, aliases in found.items() for word in aliases if word in GENERAL]
    assert all(found.values())


LABELS = {  # of inputs whose id is not what people are shown
    "DiCacheApply": {
        "threshold": "threshold (paper)", "probe_depth": "probe depth (paper)", "residual_bits": "cache precision",
    },
    "DiCacheReport": {"after": "run after"},
    "DiCacheTuning": {"want": "quality target"},
    "DiCachePolicy": {"curve": "calibration"},
}  # fmt: skip


@pytest.mark.parametrize("node", LABELS)
def test_inputs_are_labelled(info, node):
    inputs = {**info(node)["input"]["required"], **info(node)["input"].get("optional", {})}
    found = {name: options["display_name"] for name, (_, options) in inputs.items() if "display_name" in options}
    assert found == LABELS[node]


def test_saved_calibrations_are_offered_by_name(comfy, info):
    folder = Path(comfy.module("folder_paths").get_user_directory()) / "dicache"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("wan_30.json", "flux_20.json", "not a name.json", "notes.txt")]
    for path in paths:
        path.write_text("{}", encoding="utf-8")
    try:
        assert info("DiCachePolicy")["input"]["optional"]["curve"][1]["options"] == ["", "flux_20", "wan_30"]
    finally:
        for path in paths:
            path.unlink()


@pytest.mark.parametrize("given", [{}, {"threshold": -1.0, "probe_depth": -1, "warmup_steps": -1}], ids=["none", "old"])
def test_every_widget_may_be_left_out_and_means_its_default(comfy, pack, sample, load_model, given):
    """A graph through the API, and one from before there were presets."""
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheApply"]
    model, log = cls.PREPARE_CLASS_CLONE(None).execute(model=load_model("flux"), **given).result
    sample(model, "plain green | circle white large still", steps=3, size=16)
    assert log.runs[0].config == pack.dicache_core.resolve("flux", "balanced")


def test_the_preset_comes_first_and_automatic_is_minus_one(info):
    found = info("DiCacheApply")["input"]
    widgets = {**found["required"], **found["optional"]}
    assert list(widgets)[:2] == ["model", "preset"]
    for name in ("threshold", "probe_depth", "warmup_steps", "max_consecutive"):
        assert (widgets[name][1]["default"], widgets[name][1]["min"]) == (-1, -1)
    policy = info("DiCachePolicy")["input"]
    for options in (widgets["threshold"][1], policy["required"]["threshold"][1]):
        assert options["step"] == 0.001


def test_presets_are_offered_in_this_order(info):
    _, options = info("DiCacheApply")["input"]["optional"]["preset"]
    assert options["options"] == list(MENU)


def test_the_node_for_ray_has_the_widgets_of_apply_and_all_presets_but_tuned(info):
    ours, theirs = (dict(info(node)["input"]["optional"]) for node in ("DiCacheApplyRay", "DiCacheApply"))
    _, options = ours.pop("preset")
    assert theirs.pop("preset")[0] == "COMBO"
    assert options["options"] == list(PRESETS) == [name for name in MENU if name != "tuned"]
    assert "tuned" not in options["tooltip"]
    assert ours == theirs


def test_without_raylight_there_is_no_node_for_it(comfy, pack, monkeypatch, tmp_path):
    folder_paths = comfy.module("folder_paths")
    (tmp_path / "raylight.disabled" / "src" / "raylight").mkdir(parents=True)
    (tmp_path / "raylight.disabled" / "src" / "raylight" / "nodes.py").touch()
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(tmp_path)])

    def names():
        found = comfy.loop.run_until_complete(pack.DiCacheExtension().get_node_list())
        return [node.GET_SCHEMA().node_id for node in found]

    assert "DiCacheApplyRay" not in names()
    (tmp_path / "raylight.disabled").rename(tmp_path / "another name of raylight")
    assert "DiCacheApplyRay" in names()


def test_policies_are_offered_as_the_registry_has_them(info):
    _, options = info("DiCachePolicy")["input"]["required"]["policy"]
    assert options["options"] == list(NAMED)
    assert (options["options"][0], options["options"][-1]) == ("dicache", "step_mask")


def test_the_expert_inputs_arrive(comfy, sample, load_model):
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheApply"]
    expert = dict(start_percent=0.1, end_percent=0.9, max_consecutive=2, cache_device="cpu")
    model, log = (
        cls.PREPARE_CLASS_CLONE(None)
        .execute(model=load_model("flux"), threshold=0.3, probe_depth=2, warmup_steps=1, residual_bits="8", **expert)
        .result
    )
    sample(model, "plain green | circle white large still", steps=3, size=16)
    config = log.runs[0].config
    found = {name: getattr(config, name) for name in (*expert, "threshold", "probe_depth", "warmup_steps")}
    assert found == {**expert, "threshold": 0.3, "probe_depth": 2, "warmup_steps": 1}
    assert config.residual_bits == 8


def test_calibrate_names_every_method_that_needs_it(comfy):
    schema = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheCalibrate"].GET_SCHEMA()
    policies = comfy.pack.dicache_core.policies.POLICIES
    assert all(name in schema.description for name, policy in policies.items() if policy.calibrated)
