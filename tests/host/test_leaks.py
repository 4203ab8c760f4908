"""Nothing left behind: after a run, an exception or an interrupt no tensor of the session is alive."""

import pytest
import torch
from leak_tracker import watching
from testbed.captions import CAPTIONS


@pytest.fixture
def watched(pack):
    with watching(pack) as held:
        yield held


def settings(guider_model) -> dict:
    return {k: dict(v) for k, v in guider_model.model_options["transformer_options"].get("wrappers", {}).items()}


def sample(comfy, model):
    return comfy.sample(model, CAPTIONS[0], steps=10, size=16)


def test_after_a_run(comfy, pack, watched):
    model = comfy.load_model("flux")
    before = sample(comfy, model)
    (cached, *_) = comfy.node("DiCacheApply", model=model, threshold=0.4)
    sample(comfy, cached)
    assert len(watched.refs) > 10
    assert watched.alive == 0
    assert torch.equal(sample(comfy, model), before)
    assert "dit" not in model.model_options["transformer_options"].get("patches_replace", {})
    assert settings(cached) == settings(model)


@pytest.mark.parametrize("block", [0, 1, 3])
def test_after_an_exception_inside_the_model(comfy, pack, watched, block):
    model = comfy.load_model("flux")
    before = sample(comfy, model)
    (cached, *_) = comfy.node("DiCacheApply", model=model, threshold=0.4)
    calls = 0

    def fail(module, args, kwargs):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("a block broke")

    handle = model.model.diffusion_model.double_blocks[block].register_forward_pre_hook(fail, with_kwargs=True)
    try:
        with pytest.raises(RuntimeError, match="a block broke"):
            sample(comfy, cached)
    finally:
        handle.remove()
    assert watched.alive == 0
    assert torch.equal(sample(comfy, model), before)


@pytest.mark.parametrize("step", [0, 2, 5, 9])
def test_after_an_interrupt(comfy, pack, watched, step):
    management = comfy.module("comfy.model_management")
    model = comfy.load_model("flux")
    before = sample(comfy, model)
    (cached, *_) = comfy.node("DiCacheApply", model=model, threshold=0.4)

    def interrupt(module, args, kwargs, seen=[]):  # noqa: B006
        seen.append(1)
        if len(seen) == step + 1:
            management.interrupt_current_processing()

    handle = model.model.diffusion_model.double_blocks[0].register_forward_pre_hook(interrupt, with_kwargs=True)
    try:
        with pytest.raises(management.InterruptProcessingException):  # noqa: PT012 - the last step has no check behind it
            sample(comfy, cached)
            management.throw_exception_if_processing_interrupted()
    finally:
        handle.remove()
        management.interrupt_current_processing(False)
    assert watched.alive == 0
    assert torch.equal(sample(comfy, model), before)
