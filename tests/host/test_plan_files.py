"""Plans go from one model to another of its architecture as files; nothing else is read, and nothing else written."""

import os
from pathlib import Path

import pytest
import safetensors.torch
from testbed import conditioning as testbed

CAPTION = "plain green | circle white large still"
STEPS = 24
PLANNED = [0, 1, 2, 3, 9, 15, 20, 23]


@pytest.fixture
def folder(comfy, pack):
    """Where plans go; empty, and nothing is remembered, before and after."""
    folder = Path(comfy.module("folder_paths").get_user_directory()) / "dicache" / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        pack.model_patchers.forget_all()
        for path in folder.glob("*.json"):
            path.rmdir() if path.is_dir() else path.unlink()
        if _ == 0:
            yield folder


@pytest.fixture
def act(comfy):
    """``act(action, model, plan_name)``: the node's text."""
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]

    def run(action, model, plan_name="mine"):
        clone = cls.PREPARE_CLASS_CLONE(None)
        return clone.execute(model=model, latent_image={}, want="similar", action=action, plan_name=plan_name).result[3]

    return run


@pytest.fixture
def tuned_run(comfy, sample):
    def run(model):
        cached, log = comfy.node("DiCacheApply", model=model, preset="tuned")
        sample(cached, CAPTION, architecture="flux", steps=STEPS, size=8)
        return log.runs[-1]

    return run


@pytest.fixture
def planned(pack, tuned_run, load_model):
    """A Flux of which a plan is remembered."""
    core, model = pack.dicache_core, load_model("flux")
    schedule = tuned_run(model).schedule
    plan = core.call_plan.CallPlan.of(PLANNED, schedule, schedule.sequences[0])
    context = core.RunContext(core.tuning.context.SamplerFamily.DETERMINISTIC, STEPS)
    choice = core.Choice(context, "similar", "forecast", "3x", 2.9, 31.0, 0.95, plan)
    pack.model_patchers.tuned_files.remember(model, choice)
    return model


@pytest.fixture
def another_flux(comfy, tmp_path):
    """One whose weights are others."""
    weights = {name: weight * 1.02 for name, weight in safetensors.torch.load_file(testbed.weights("flux")).items()}
    safetensors.torch.save_file(weights, tmp_path / "another.safetensors")
    return comfy.module("comfy.sd").load_diffusion_model(str(tmp_path / "another.safetensors"))


def test_exported_for_one_model_and_imported_for_another(folder, act, planned, another_flux, tuned_run, pack):
    text = act("export the plan", planned)
    assert f"Exported: {folder / 'mine.json'}" in text
    assert (folder / "mine.json").read_text(encoding="utf-8") in text
    assert planned.model is not another_flux.model
    assert tuned_run(another_flux).tuned_match.found == "model"
    assert "Imported: Flux, 8 of 24 steps computed (3x)" in act("import a plan", another_flux)
    run = tuned_run(another_flux)
    assert run.tuned_match.found == "fits"
    assert run.tuned_match.goal == "similar, imported"
    veto = pack.dicache_core.Reason.VETO
    vetoed = {passed.step.call_index for passed in run.passes if passed.decisions[0].reason is veto}
    assert {p.step.call_index for p in run.passes if not p.decisions[0].reuse} == set(PLANNED) | vetoed


def test_a_plan_of_another_architecture_is_refused(folder, act, planned, load_model, pack):
    act("export the plan", planned)
    with pytest.raises(ValueError, match="this plan is for Flux models, but this model is HunyuanVideo"):
        act("import a plan", load_model("hunyuan_video"))
    assert pack.model_patchers.remembered(load_model("hunyuan_video")).choices == ()


def test_plans_of_the_pack_are_listed_and_imported(folder, act, load_model, pack):
    listed = act("list plans to import", load_model("flux"))
    assert "Can be imported: flux-dpcache-21of50 (Flux, 21 of 50 steps computed (2.39x)" in listed
    assert "qwen_image" not in listed
    (folder / "broken.json").write_text("{", encoding="utf-8")
    assert f"Cannot be read: {folder / 'broken.json'}" in act("list plans to import", load_model("flux"))
    act("import a plan", load_model("flux"), "flux-dpcache-21of50")
    (choice,) = pack.model_patchers.remembered(load_model("flux")).choices
    assert (choice.target, choice.context.steps, len(choice.plan.shares)) == ("2.39x", 50, 21)
    assert "quality not measured" in act("list what is remembered", load_model("flux"))


def test_a_file_of_the_user_goes_before_one_of_the_pack(folder, act, planned, pack):
    act("export the plan", planned, "flux-dpcache-21of50")
    assert "8 of 24 steps" in act("import a plan", planned, "flux-dpcache-21of50")


def test_nothing_to_export_says_what_to_run(folder, act, load_model):
    with pytest.raises(ValueError, match="no plan is remembered for this Flux model: run DiCache Tune with it first"):
        act("export the plan", load_model("flux"))
    assert list(folder.iterdir()) == []


def test_a_plan_that_is_not_there_says_which_are(folder, act, load_model):
    (folder / "directory.json").mkdir()
    with pytest.raises(ValueError, match=r"no plan 'directory' .* \(found: flux-dpcache-13of50, "):
        act("import a plan", load_model("flux"), "directory")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\x80\x04\x95pickle", b"\xff\xfe\x00\x00", b"[" * 60_000, b'{"version": 1}', b" " * 10**7, b"null"],
    ids=lambda content: repr(content[:24]),
)
def test_files_that_hold_something_else_are_refused(folder, act, load_model, pack, content):
    (folder / "hostile.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"hostile\.json: .* export it again, or ask who sent it"):
        act("import a plan", load_model("flux"), "hostile")
    assert pack.model_patchers.remembered(load_model("flux")).choices == ()


NAMES = ["../mine", "..", "a/b", "a\\b", os.sep + "etc", "mine.json", "", " mine", "mi\nne", "mine\n", "a" * 65]


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("action", ["import a plan", "export the plan"])
def test_names_that_leave_the_folder(folder, act, planned, comfy, action, name):
    with pytest.raises(ValueError, match="write a plain name"):
        act(action, planned, name)
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]
    assert "write a plain name" in cls.validate_inputs(action=action, plan_name=name)
    assert cls.validate_inputs(action="tune", plan_name=name) is True, "nobody reads it"
    assert list(folder.iterdir()) == []


def test_a_list_is_another_one_when_there_is_another_plan(folder, comfy, pack):
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]
    before = cls.fingerprint_inputs(action="list plans to import")
    assert cls.fingerprint_inputs(action="list plans to import") == before
    (folder / "new.json").write_text("{", encoding="utf-8")
    assert cls.fingerprint_inputs(action="list plans to import") != before
