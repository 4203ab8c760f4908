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

    def keep(model, *, steps=9, sampler="adds no noise", patched=False, target="3x"):
        choice = core.Choice(core.Situation(sampler, steps, patched), "close", "foreseen", target, 2.9, 31.0, 0.95)
        return patchers.tuned.remember(model, choice)

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
    assert run.recall.found == "fits"


def test_another_file_name_and_a_restart(comfy, load_model, remember, tuned_run, tmp_path, patchers):
    """The same weights from a file with another name, loaded anew: nothing in memory says that it is the same model."""
    remember(load_model("flux"))
    copy = tmp_path / "renamed_v2.safetensors"
    copy.write_bytes(testbed.weights("flux").read_bytes())
    loaded = comfy.module("comfy.sd").load_diffusion_model(str(copy))
    assert loaded.model is not load_model("flux").model
    assert patchers.fingerprint.fingerprint(loaded) == patchers.fingerprint.fingerprint(load_model("flux"))
    assert tuned_run(loaded).recall.found == "fits"


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
    assert run.recall.found == "patched"
    assert run.config.target == "3x"
    assert "without the LoRA" in caplog.text
    assert "without the LoRA" in pack.reporting.describe([run])
    assert tuned_run(model).recall.found == "fits", "and without it again"
    assert fingerprint(patched) == known


def test_another_model_does_not_get_it(load_model, remember, tuned_run, patchers):
    remember(load_model("flux"))
    with pytest.raises(ValueError, match="HunyuanVideo model yet: run DiCache Tune"):
        tuned_run(load_model("hunyuan_video"), "hunyuan_video")


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
    with pytest.raises(ValueError, match="run DiCache Tune"):
        tuned_run(comfy.module("comfy.sd").load_diffusion_model(str(other)))


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
    assert run.recall.found == found
    assert run.config.target == ("3x" if found == "fits" else "2x")
    if found != "fits":
        assert "run DiCache Tune" in caplog.text
        assert "run DiCache Tune" in pack.reporting.describe([run])


def test_part_of_a_schedule_counts_as_the_whole(load_model, remember, tuned_run):
    """Image to image: 5 of 10 steps are those of a schedule of 10."""
    remember(load_model("flux"), steps=10)
    assert tuned_run(load_model("flux"), steps=5, denoise=0.5).recall.found == "fits"


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
    assert "It is replaced now" in caplog.text
    assert tuned_run(load_model("flux")).recall.found == "fits"


def test_a_foreign_file_is_refused(comfy, load_model, remember):
    """Another model's under this one's name."""
    path = remember(load_model("flux"))
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"fingerprint": "0" * 32}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"was tuned with another model .* delete the file, or run DiCache Tune again"):
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
