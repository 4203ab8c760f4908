"""Node ids, inputs, their order and defaults, and outputs are public: saved graphs depend on them."""

import pytest

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
        "required": {"model": None, "threshold": -1.0, "probe_depth": 0, "warmup_steps": -1},
        "optional": {
            "preset": "published",
            "start_percent": 0.0,
            "end_percent": 1.0,
            "max_consecutive": -1,
            "cache_device": "auto",
            "residual_bits": "16",
            "policy": None,
        },
        "outputs": [("MODEL", "MODEL"), ("DICACHE_STATS", "statistics")],
        "advanced": {"start_percent", "end_percent", "max_consecutive", "cache_device", "residual_bits"},
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
            "settings": "published, fast",
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
        "outputs": [("LATENT", "latents"), ("IMAGE", "pictures"), ("STRING", "report"), ("IMAGE", "images")],
        "advanced": {"switch_at"},
    },
    "DiCachePolicy": {
        "required": {"policy": "dicache", "target": "", "threshold": -1.0, "warmup_steps": -1},
        "optional": {"mask": "", "curve": ""},
        "outputs": [("DICACHE_POLICY", "policy")],
        "advanced": {"mask", "curve"},
    },
    "DiCacheCalibrate": {
        "required": {**SAMPLING, "name": "curve"},
        "optional": {},
        "outputs": [("STRING", "curve")],
        "advanced": set(),
    },
}
PRESETS = ["published", "fidelity", "balanced", "fast"]
POLICIES = {
    "dicache", "dicache_delta_minus", "fbcache", "teacache", "easycache", "magcache", "taylorseer_1", "taylorseer_2",
    "foca", "hyca", "sensitivity", "fixed_interval", "step_mask", "trajectory_error", "trajectory_error_output",
    "output_reuse", "corrected_line", "foreseen", "output_line",
}  # fmt: skip


@pytest.fixture
def info(comfy, pack):
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
    assert "dicache" in found["search_aliases"]
    assert {name for name, (_, o) in inputs.items() if o.get("advanced")} == PUBLIC[node]["advanced"]


def test_what_came_after_the_first_release_may_be_left_out(comfy, pack, sample, load_model):
    """A graph saved by the first release, through the API: it has none of the later inputs."""
    old = {"threshold": -1.0, "probe_depth": 0, "warmup_steps": -1}
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheApply"]
    model, log = cls.PREPARE_CLASS_CLONE(None).execute(model=load_model("flux"), **old).result
    sample(model, "plain green | circle white large still", steps=3, size=16)
    assert log.runs[0].config == pack.dicache_core.published("flux")


def test_presets_are_offered_in_this_order(info):
    _, options = info("DiCacheApply")["input"]["optional"]["preset"]
    assert options["options"] == PRESETS


def test_policies_keep_their_names(info):
    _, options = info("DiCachePolicy")["input"]["required"]["policy"]
    assert set(options["options"]) >= POLICIES


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
