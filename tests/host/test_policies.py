"""Every named policy in a real ComfyUI, on all three architectures."""

import json
from dataclasses import replace

import pytest
import torch
from every_policy import POLICIES
from passes import ARCHITECTURES, Passes
from testbed.captions import CAPTIONS

LOOSE = {"magcache": 2.0, "teacache": 3.0}  # skips something at ten steps; 1.0 does on the others
MASK = "1,1,1,1,0,0,1,0,0,1"
BLOCKS = {"wan": "blocks 2-9 12"}  # elsewhere of four and eight
ERRORS = tuple(tuple(0.05 * gap for gap in range(1, 9)) for _ in range(10))
CURVE = ((0.0, *[0.9] * 9), ERRORS, ERRORS)
KEPT = pytest.StashKey[dict]()


@pytest.fixture(params=ARCHITECTURES)
def passes(comfy, request):
    return Passes(comfy, request.param)


def with_policy(passes, name, **settings):
    """The testbed's model with a policy, and the log of its runs."""
    core = passes.core
    blocks = ((0.01,) * (14 if passes.architecture == "wan" else 12),) * 10
    curve = core.Calibration(passes.architecture, *CURVE, blocks)
    in_parts = core.policies.named_policy(name).in_parts
    mask = BLOCKS.get(passes.architecture, "double 1-2, single 0-4 7") if in_parts else MASK
    policy = replace(core.policies.chosen_policy(name, mask=mask, calibration=curve), **settings)
    config = core.resolve(passes.architecture, policy=policy)
    runs = []
    return passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=runs), runs


@pytest.fixture
def plain(passes, request):
    """``plain(steps)``: the uncached latent of the default caption, sampled once per architecture."""
    kept = request.config.stash.setdefault(KEPT, {})

    def sampled(steps: int) -> torch.Tensor:
        place = (passes.architecture, steps)
        if place not in kept:
            kept[place] = passes.sample(passes.model(), steps=steps)
        return kept[place]

    return sampled


@pytest.mark.parametrize("name", POLICIES)
def test_it_skips_and_stays_finite(passes, plain, name):
    limited_by = passes.core.policies.named_policy(name).limited_by
    loose = {
        "interval": {"interval": 3},
        "threshold": {"threshold": LOOSE.get(name, 1.0)},
        "target": {"target": "6"},  # a count is taken at its word
    }.get(limited_by, {})
    if name == "h2cache" and passes.architecture == "wan":
        with pytest.raises(ValueError, match="this model has one kind of blocks"):
            with_policy(passes, name)
        return
    model, runs = with_policy(passes, name, **loose)
    latent = passes.sample(model)
    assert torch.isfinite(latent).all()
    assert 0 < runs[0].reused + runs[0].cells.count("p") < 10
    assert not torch.equal(latent, plain(10))


def test_threshold_0_changes_no_bit(passes, plain):
    """Of any policy it ends the rule before it looks at anything, as core/test_policy_table.py has it of every one."""
    for name in ("dicache", "forecast"):
        model, runs = with_policy(passes, name, threshold=0.0)
        assert torch.equal(passes.sample(model, steps=3), plain(3)), name
        assert runs[0].reused == 0, name


@pytest.mark.parametrize("name", ["dicache", "easycache", "fbcache", "output_line"])
@pytest.mark.parametrize(("steps", "target"), [(20, "1.5x"), (20, "2x"), (30, "2x"), (30, "3x"), (50, "2x")])
def test_the_speed_target_is_met(passes, name, steps, target):
    if passes.architecture != "flux" and (steps, target) != (30, "2x"):
        pytest.skip("one combination suffices on the other models")
    model, runs = with_policy(passes, name, target=target)
    passes.sample(model, passes.text(CAPTIONS[1]), steps=steps)
    assert abs(runs[0].computed - passes.core.target.Target.parse(target).computed(steps)) <= 1


def test_a_curve_is_calibrated_saved_and_used(passes, monkeypatch, tmp_path):
    curves = passes.comfy.module(f"{passes.comfy.pack.__name__}.model_patchers.calibration_files")
    monkeypatch.setattr(passes.comfy.module("folder_paths"), "get_user_directory", lambda: str(tmp_path))
    inputs = {"model": passes.model(), "positive": passes.text(), "negative": passes.text(""), "steps": 10}
    (name,) = passes.comfy.node(
        "DiCacheCalibrate", **inputs, latent_image={"samples": passes.latent()}, name=passes.architecture
    )
    assert [p.name for p in tmp_path.rglob("*.json")] == [f"{passes.architecture}.json"]
    curve = curves.load_calibration(name)
    assert curve.architecture == passes.architecture
    assert curve.ratios[0] == curve.ratios[-1] == 0
    assert all(0.3 < ratio < 3 for ratio in curve.ratios[1:-2])
    (policy,) = passes.comfy.node("DiCachePolicy", policy="magcache", curve=name, threshold=0.5)
    model, log = passes.comfy.node("DiCacheApply", model=passes.model(), policy=policy)
    passes.sample(model)
    assert log.runs[0].reused > 0


def test_a_curve_that_was_calibrated_again_is_another_policy(comfy, pack, monkeypatch, tmp_path):
    """Under the same name; the host runs a node again when its fingerprint changes."""
    monkeypatch.setattr(comfy.module("folder_paths"), "get_user_directory", lambda: str(tmp_path))
    node = comfy.nodes.NODE_CLASS_MAPPINGS["DiCachePolicy"]
    inputs = {"policy": "magcache", "target": "", "threshold": -1.0, "warmup_steps": -1, "curve": "mine"}
    found = [node.fingerprint_inputs(**inputs)]
    path = tmp_path / "dicache" / "mine.json"
    path.parent.mkdir()
    for ratios in ([1.0, 0.9], [1.0, 0.8], [1.0, 0.8]):
        path.write_text(json.dumps({"version": 2, "architecture": "flux", "ratios": ratios}), encoding="utf-8")
        found.append(node.fingerprint_inputs(**inputs))
    assert len(set(found)) == 3
    assert found[2] == found[3]
    assert (
        node.fingerprint_inputs(**inputs | {"curve": ""}) == node.fingerprint_inputs(**inputs | {"curve": None}) == ""
    )


def test_a_curve_of_another_architecture_is_refused_on_apply(comfy, pack, monkeypatch, tmp_path):
    monkeypatch.setattr(comfy.module("folder_paths"), "get_user_directory", lambda: str(tmp_path))
    (tmp_path / "dicache").mkdir()
    curve = pack.dicache_core.Calibration("hunyuan_video", (0.0, *[0.9] * 9))
    (tmp_path / "dicache" / "mine.json").write_text(curve.to_json(), encoding="utf-8")
    (policy,) = comfy.node("DiCachePolicy", policy="magcache", curve="mine")
    with pytest.raises(ValueError, match="made for HunyuanVideo, but this model is Flux"):
        comfy.node("DiCacheApply", model=comfy.load_model("flux"), policy=policy)


@pytest.mark.parametrize("name", ["../secret", "a/b", "a\\b", "", "C:x", "a.json", ".hidden", "a" * 65])
@pytest.mark.parametrize("passes", ["flux"], indirect=True)  # nothing is sampled
def test_a_curve_name_cannot_leave_the_folder(passes, name):
    with pytest.raises(ValueError, match="plain name"):
        passes.comfy.pack.model_patchers.load_calibration(name)
    checked = passes.comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheCalibrate"].validate_inputs(name=name)
    assert "plain name" in str(checked)


@pytest.mark.parametrize("passes", ["flux"], indirect=True)  # nothing is sampled
def test_the_policy_node_refuses_what_makes_no_sense(passes):
    node = passes.comfy.nodes.NODE_CLASS_MAPPINGS["DiCachePolicy"]
    assert node.validate_inputs() is True
    assert "1.5x" in node.validate_inputs(target="fast")
    assert "mask" in node.validate_inputs(mask="1,2")
    assert "threshold" in node.validate_inputs(threshold=11.0)


@pytest.mark.parametrize("passes", ["flux"], indirect=True)  # nothing is sampled
def test_the_policy_node_hands_on_only_what_was_typed(passes):
    (policy,) = passes.comfy.node("DiCachePolicy", policy="fbcache")
    assert policy == passes.core.policies.POLICIES["fbcache"]
    (policy,) = passes.comfy.node("DiCachePolicy", policy="fbcache", target=" 2x ", warmup_steps=0, threshold=0.0)
    assert (policy.target, policy.warmup_steps, policy.threshold) == ("2x", 0, 0.0)
    (policy,) = passes.comfy.node("DiCachePolicy", policy="foca", interval=4)
    assert (policy.interval, policy.threshold) == (4, None)
    with pytest.raises(ValueError, match="threshold is 4, but this policy computes every n-th step: write -1"):
        passes.comfy.node("DiCachePolicy", policy="foca", threshold=4.0)
