"""What is remembered outlives a restart, a file's name and LoRAs; another model's is not taken, nor a damaged file."""

import json
from pathlib import Path

import pytest
import torch
from testbed import conditioning as testbed

CAPTION = "plain green | circle white large still"
SIZE = 8


@pytest.fixture
def patchers(pack):
    pack.model_patchers.forget_all()
    yield pack.model_patchers
    pack.model_patchers.forget_all()


@pytest.fixture
def remember(pack, patchers):
    """``remember(model, steps=9, ...)``: as DiCache Tune does; the file."""
    core = pack.dicache_core

    def keep(model, *, steps=9, sampler="deterministic", patched=False, target="3x", node_id=None, plan=None, **part):
        context = core.RunContext(core.tuning.context.SamplerFamily(sampler), steps, patched, **part)
        choice = core.Choice(context, "similar", "forecast", target, 2.9, 31.0, 0.95, plan)
        return patchers.tuned_files.remember(model, choice, node_id)

    return keep


@pytest.fixture
def tuned_run(comfy, sample):
    """``tuned_run(model, steps=9, ...)``: one run with the preset, and what it says of itself."""

    def run(model, architecture="flux", **sampler):
        cached, log = comfy.node("DiCacheApply", model=model, preset="tuned")
        sample(cached, CAPTION, architecture=architecture, **{"steps": 9, "size": SIZE, **sampler})
        return log.runs[-1]

    return run


def with_lora(model):
    """A LoRA of rank 1 on two weights, as the host keeps one."""
    patched, generator = model.clone(), torch.Generator().manual_seed(1)
    names = [name for name, weight in model.model.named_parameters() if weight.ndim == 2][:60:2]
    changes = {name: (torch.randn(model.model.get_parameter(name).shape, generator=generator),) for name in names}
    assert set(patched.add_patches(changes, 0.05)) == set(names)
    return patched


def test_a_run_takes_what_is_remembered(load_model, remember, tuned_run):
    remember(load_model("flux"))
    run = tuned_run(load_model("flux"))
    assert run.config.target == "3x"
    assert run.tuned_match.found == "fits"


def test_a_run_follows_the_plan_that_is_remembered(load_model, remember, tuned_run, pack):
    """In a run of other steps as many as its target says; what is cancelled is computed on top."""
    schedule = tuned_run(load_model("flux"), steps=24).schedule
    planned = [0, 1, 2, 3, 9, 15, 20, 23]
    plan = pack.dicache_core.call_plan.CallPlan.of(planned, schedule, schedule.sequences[0])
    remember(load_model("flux"), steps=24, plan=plan)
    run, veto = tuned_run(load_model("flux"), steps=24), pack.dicache_core.Reason.VETO
    assert run.tuned_match.found == "fits"
    computed = {passed.step.call_index for passed in run.passes if not passed.decisions[0].reuse}
    assert computed == set(planned) | {p.step.call_index for p in run.passes if p.decisions[0].reason is veto}
    other = tuned_run(load_model("flux"), steps=30)
    assert 10 <= sum(not passed.decisions[0].reuse for passed in other.passes) <= 10 + other.vetoed


def test_another_file_name_and_a_restart(comfy, load_model, remember, tuned_run, tmp_path, patchers):
    """The same weights from a file with another name, loaded anew: nothing in memory says that it is the same model."""
    remember(load_model("flux"))
    copy = tmp_path / "renamed_v2.safetensors"
    copy.write_bytes(testbed.weights("flux").read_bytes())
    loaded = comfy.module("comfy.sd").load_diffusion_model(str(copy))
    assert loaded.model is not load_model("flux").model
    assert patchers.fingerprint.fingerprint(loaded) == patchers.fingerprint.fingerprint(load_model("flux"))
    assert tuned_run(loaded).tuned_match.found == "fits"


def test_a_lora_keeps_it_and_is_said(load_model, remember, tuned_run, patchers, pack, caplog):
    """Before the LoRA is worked into the weights, while it is, and after."""
    model, fingerprint = load_model("flux"), patchers.fingerprint.fingerprint
    remember(model)
    patched, known = with_lora(model), fingerprint(model)
    assert fingerprint(patched) == known
    caplog.set_level("INFO", "dicache")
    run = tuned_run(patched)
    assert patched.model.current_weight_patches_uuid == patched.patches_uuid, "the LoRA is in the weights now"
    assert fingerprint(patched) == fingerprint(model) == known
    assert run.tuned_match.found == "patched"
    assert run.config.target == "3x"
    assert "without the LoRA" in caplog.text
    assert "without the LoRA" in pack.dicache_nodes.rendering.describe(run)
    assert tuned_run(model).tuned_match.found == "fits", "and without it again"
    assert fingerprint(patched) == known


def test_another_model_samples_as_balanced_and_says_so(load_model, remember, tuned_run, pack, caplog):
    remember(load_model("flux"))
    caplog.set_level("INFO", "dicache")
    run = tuned_run(load_model("hunyuan_video"), "hunyuan_video")
    assert run.tuned_match.found == "model"
    assert run.config.target == "2x"
    assert "not tuned for this model, so balanced is used. Run DiCache Tune" in caplog.text
    assert "not tuned for this model" in pack.dicache_nodes.rendering.describe(run)


def test_a_finetune_of_the_same_architecture_does_not_get_it(comfy, remember, load_model, tuned_run, tmp_path):
    """One in which a single kind of weight was trained on."""
    torch_utils = comfy.module("comfy.utils")
    state, metadata = torch_utils.load_torch_file(str(testbed.weights("flux")), return_metadata=True)
    for name in state:
        if state[name].ndim == 2:
            state[name] = state[name] * 1.05
    other = tmp_path / "flux.safetensors"
    torch_utils.save_torch_file(state, str(other), metadata=metadata)
    remember(load_model("flux"))
    assert tuned_run(comfy.module("comfy.sd").load_diffusion_model(str(other))).tuned_match.found == "model"


@pytest.mark.parametrize(
    ("sampler", "found"),
    [
        ({}, "fits"),
        ({"sampler": "dpmpp_2m"}, "fits"),
        ({"steps": 11}, "fits"),
        ({"steps": 14}, "steps"),
        ({"sampler": "euler_ancestral"}, "sampler"),
        ({"sampler": "heun"}, "sampler"),
    ],
    ids=repr,
)
def test_other_samplers_and_steps(load_model, remember, tuned_run, sampler, found, caplog, pack):
    remember(load_model("flux"))
    caplog.set_level("INFO", "dicache")
    run = tuned_run(load_model("flux"), **sampler)
    assert run.tuned_match.found == found
    assert run.config.target == ("3x" if found == "fits" else "2x")
    if found != "fits":
        assert "Run DiCache Tune" in caplog.text
        assert "Run DiCache Tune" in pack.dicache_nodes.rendering.describe(run)


def test_part_of_a_schedule_counts_as_the_whole(load_model, remember, tuned_run):
    """Image to image: 5 of 10 steps are those of a schedule of 10."""
    remember(load_model("flux"), steps=10)
    assert tuned_run(load_model("flux"), steps=5, denoise=0.5).tuned_match.found == "fits"


def test_a_whole_schedule_does_not_get_what_was_tuned_for_its_end(load_model, remember, tuned_run):
    """Both samplers of a hires fix: each gets its own, whichever was tuned last."""
    model = load_model("flux")
    remember(model, steps=10, begin=0.8, target="4x")
    alone = tuned_run(model, steps=10)
    assert (alone.tuned_match.found, alone.config.target) == ("part", "2x")
    remember(model, steps=10)
    remember(model, steps=10, begin=0.8, target="4x")
    assert tuned_run(model, steps=10).config.target == "3x"
    assert tuned_run(model, steps=2, denoise=0.2).config.target == "4x"


def test_numbers_that_the_user_typed_count(comfy, sample, load_model, remember):
    remember(load_model("flux"))
    cached, log = comfy.node("DiCacheApply", model=load_model("flux"), preset="tuned", warmup_steps=4)
    sample(cached, CAPTION, steps=9, size=SIZE)
    assert log.runs[0].config.warmup_steps == 4


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 60_000, b'{"version": 99}', b" " * 10**6 + b"{}"],
    ids=lambda content: repr(content[:12]),
)
def test_a_damaged_file_is_refused_and_can_be_replaced(
    comfy, load_model, remember, tuned_run, patchers, content, caplog
):
    path = remember(load_model("flux"))
    path.write_bytes(content)
    with pytest.raises(ValueError, match="delete the file, or run DiCache Tune again") as error:
        comfy.node("DiCacheApply", model=load_model("flux"), preset="tuned")
    assert path.name in str(error.value)
    assert "Cannot be read" in patchers.listing()
    assert remember(load_model("flux")) == path
    assert "It is replaced." in caplog.text
    assert tuned_run(load_model("flux")).tuned_match.found == "fits"


def test_a_file_that_cannot_be_opened_is_refused_and_others_are_read(
    comfy, load_model, remember, patchers, monkeypatch
):
    path, other = remember(load_model("wan")), remember(load_model("flux"))
    opened = Path.open

    def denied(self, *args, **kwargs):
        if self.name == path.name:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ValueError, match=r"cannot be opened \(Permission denied\): delete the file") as error:
        comfy.node("DiCacheApply", model=load_model("wan"), preset="tuned")
    assert path.name in str(error.value)
    comfy.node("DiCacheApply", model=load_model("flux"), preset="tuned")
    assert len(patchers.tuned_digest()) == 64
    assert "Cannot be read" in patchers.listing()
    assert other.is_file()


def test_a_huge_file_is_not_read_whole(load_model, remember, patchers):
    """It has a terabyte without taking up any of it: whoever reads it whole is not done today."""
    path = remember(load_model("flux"))
    with path.open("r+b") as file:
        file.truncate(2**40)
    state = patchers.tuned_digest()
    assert "Cannot be read" in patchers.listing()
    assert remember(load_model("flux")) == path
    assert path.stat().st_size < 65536
    assert patchers.tuned_digest() != state


def test_what_is_not_the_packs_stays(load_model, remember, patchers):
    path = remember(load_model("flux"))
    others = [path.with_name(name) for name in ("notes.json", f"copy of {path.name}", f"{path.name}.bak", "old.json")]
    for other in others:
        other.write_text("mine", encoding="utf-8")
    state = patchers.tuned_digest()
    others[0].write_text("mine still", encoding="utf-8")
    assert patchers.tuned_digest() == state
    assert "Cannot be read" not in patchers.listing()
    assert patchers.forget_all() == f"Forgotten: {path.name}"
    assert [other.exists() for other in [path, *others]] == [False, True, True, True, True]
    for other in others:
        other.unlink()


def test_two_writers_at_the_same_time(load_model, remember, patchers, monkeypatch):
    """The second one writes the whole of its file while the first one is about to put its own in place."""
    files = patchers.files
    replace, writers = files.os.replace, iter([True])

    def meanwhile(source, target):
        if next(writers, False):
            remember(load_model("flux"), steps=30)
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", meanwhile)
    path = remember(load_model("flux"))
    assert [choice.context.steps for choice in patchers.remembered(load_model("flux")).choices] == [9]
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(load_model, remember, patchers, monkeypatch):
    path = remember(load_model("flux"))
    before = path.read_bytes()

    def full(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(patchers.files.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        remember(load_model("flux"), steps=30)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_tuning_again_is_another_question_where_what_was_kept_is_gone(comfy, load_model, remember, patchers):
    """ComfyUI answers the same question from its cache, and shall while what the node has kept is there."""
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]

    def state(node_id):
        hidden = {"hidden_inputs": {comfy.module("comfy_api.latest").io.Hidden.unique_id: node_id}}
        return cls.PREPARE_CLASS_CLONE(hidden).fingerprint_inputs(action="tune")

    first = state("tune 1")
    path = remember(load_model("flux"), node_id="tune 1")
    assert state("tune 1") == first
    remember(load_model("flux"), target="2x", node_id="tune 2")  # in its place, for the same steps: nothing is lost
    remember(load_model("flux"), steps=30, node_id="tune 2")
    assert state("tune 1") == first
    path.write_text("damaged", encoding="utf-8")
    second = state("tune 1")
    assert second != first
    assert state("tune 1") == second
    assert state("tune 3") == first, "it has lost nothing"
    remember(load_model("flux"), node_id="tune 1")
    assert state("tune 1") == second
    patchers.forget(load_model("flux"))
    assert state("tune 1") not in (first, second)


def test_a_foreign_file_is_refused(comfy, load_model, remember):
    """Another model's under this one's name."""
    path = remember(load_model("flux"))
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"fingerprint": "0" * 32}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"belongs to another model .* delete the file, or run DiCache Tune again"):
        comfy.node("DiCacheApply", model=load_model("flux"), preset="tuned")


def test_files_are_small_and_under_the_user_directory(comfy, load_model, remember, patchers):
    user = Path(comfy.module("folder_paths").get_user_directory())
    paths = {remember(load_model(architecture)) for architecture in ("flux", "wan")}
    for steps in range(1, 200):
        remember(load_model("flux"), steps=steps)
    assert len(paths) == 2
    for path in paths:
        assert user in path.parents
        assert path.stat().st_size <= 65536
    assert [path.suffix for path in (user / "dicache" / "tuned").iterdir()] == [".json", ".json"]
    lines = patchers.listing().splitlines()
    assert any(line.startswith("Wan") for line in lines)
    assert patchers.forget_all().count("Forgotten") == 2
    assert patchers.listing() == "Nothing is remembered."


def test_the_node_samples_anew_when_something_else_is_remembered(comfy, load_model, remember):
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheApply"]
    before, balanced = cls.fingerprint_inputs(preset="tuned"), cls.fingerprint_inputs(preset="balanced")
    remember(load_model("flux"))
    assert cls.fingerprint_inputs(preset="tuned") != before
    assert cls.fingerprint_inputs(preset="balanced") == balanced == ""
