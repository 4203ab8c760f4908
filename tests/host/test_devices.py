"""The host's split of conds over devices, with both devices on the CPU: threads, clones of the weights, one run."""

import sys
import threading

import pytest
import torch
from passes import COMPOSED, Passes, streams

ROUNDING = 1e-4  # of the largest value; forecasts carry the last digits on, how far depends on the CPU


@pytest.fixture(params=["flux", "wan"])
def passes(request, comfy):
    return Passes(comfy, request.param)


def split(passes, model):
    """What the host's MultiGPU node makes of ``model``, with a second device that is the CPU under another name."""
    if not hasattr(model, "deepclone_multigpu"):
        pytest.skip(f"ComfyUI {passes.comfy.version} has no MultiGPU split")
    model = model.clone()
    other = model.deepclone_multigpu(new_load_device=torch.device("cpu", 0))
    other.is_multigpu_base_clone = True
    model.set_additional_models("multigpu", [other])
    model.match_multigpu_clones()
    return model


@pytest.fixture
def threads(passes, monkeypatch):
    """Threads in which passes of a cached run happened."""
    seen = set()
    forward = sys.modules[f"{passes.comfy.pack.model_patchers.__name__}.apply_model"].CachedPass
    call = forward.__call__

    def watched(self, *args, **kwargs):
        seen.add(threading.get_ident())
        return call(self, *args, **kwargs)

    monkeypatch.setattr(forward, "__call__", watched)
    return seen


def test_split_over_two_devices(passes, threads):
    settings = dict(cfg=3.0, latent=passes.latent())
    # One batch of two samples against two of one: the host's own results differ in their last digits.
    plain, plain_split = (passes.sample(m, **settings) for m in (passes.model(), split(passes, passes.model())))
    rounding = float((plain - plain_split).abs().max())
    assert rounding < 1e-3 * float(plain.abs().max())
    alone = passes.sample(passes.cached(), **settings)
    decisions = sorted(passes.decisions())
    threads.clear()
    found = []
    for order in (lambda m: split(passes, passes.cached(m)), lambda m: passes.cached(split(passes, m))):
        for _ in range(2):
            out = passes.sample(order(passes.model()), **settings)
            found.append((out, sorted(passes.decisions())))
            assert len(streams(passes.run)) == 2
    assert len(threads) >= 2, "everything ran in one thread"
    for out, its_decisions in found:
        assert torch.equal(out, found[0][0]), "not the same each time"
        assert its_decisions == decisions
        assert (out - alone).abs().max() <= max(4 * rounding, ROUNDING * float(alone.abs().max()))


def test_split_without_skipping_is_the_plain_run(passes):
    settings = dict(cfg=3.0, latent=passes.latent())
    plain = passes.sample(split(passes, passes.model()), **settings)
    assert torch.equal(passes.sample(split(passes, passes.cached(threshold=COMPOSED)), **settings), plain)
