"""Forwards that do not come to the blocks: another pack's own forward, another cache's skipped pass."""

import logging
from inspect import signature
from types import MethodType

import pytest
import torch
from passes import STEPS, Passes

WARNING = "another node bypassed DiCache"


class OtherCache:
    """Stands in for ``forward_orig`` as other packs put it there, and answers the calls ``skipped`` from memory."""

    def __init__(self, original, skipped) -> None:
        self.original, self.skipped, self.calls, self.last = original, skipped, -1, None

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls not in self.skipped:
            self.last = self.original(*args, **kwargs)
        return self.last.clone()


@pytest.fixture
def passes(comfy):
    return Passes(comfy, "flux")


def own_forward(model):
    """The class's, whatever an earlier test's patch has put in its place."""
    network = model.model.diffusion_model
    return MethodType(type(network).forward_orig, network)


def beside(passes, skipped):
    model = passes.model()
    other = OtherCache(own_forward(model), skipped)
    model.add_object_patch("diffusion_model.forward_orig", other)
    return model


def warnings_of(caplog) -> list[str]:
    """The pack's own: the host has some of its own about models that tests before this one have loaded."""
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and r.name == "dicache"]


def undecided(passes) -> int:
    """Calls of the last run whose forward came to none of the blocks that decide; they count as computed."""
    return sum(passes.core.engine.decision.UNDECIDED in call.decisions for call in passes.run.passes)


@pytest.mark.parametrize("skipped", [range(1, STEPS), (3, 4)], ids=["no block at all", "two passes"])
@pytest.mark.parametrize("policy", [{}, {"predictor": "output_line"}, {"cache_device": "cpu"}], ids=str)
def test_the_run_ends_and_says_so_once(passes, pack, skipped, policy, caplog):
    plain = passes.sample(beside(passes, skipped))
    with caplog.at_level(logging.INFO, logger="dicache"):
        out = passes.sample(passes.cached(beside(passes, skipped), **policy))
    (warning,) = warnings_of(caplog)
    assert WARNING in warning
    assert undecided(passes) == len(skipped)
    assert [passes.run.cells[step] for step in skipped] == ["c"] * len(skipped)
    if len(skipped) == STEPS - 1:
        assert torch.equal(out, plain), "nothing was reused"
        text = pack.dicache_nodes.rendering.describe(passes.run)
        assert "another node bypassed DiCache" in text
    assert out.isfinite().all()
    pack.dicache_nodes.rendering.plot_run(passes.run)


FIRST, SECOND, LAST = ("double_block", 0), ("double_block", 1), ("single_block", 7)


class Direct(torch.nn.Module):
    """Runs a block's own code, past whatever was put around it."""

    def __init__(self, block) -> None:
        super().__init__()
        self.run = MethodType(type(block).forward, block)

    def forward(self, *args, **kwargs):
        return self.run(*args, **kwargs)


class Leaves:
    """Stands in for ``forward_orig`` as a copy of it that runs some blocks in its own way."""

    def __init__(self, original, blocks, since=0) -> None:
        self.original, self.blocks, self.since, self.calls = original, blocks, since, -1

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls < self.since:
            return self.original(*args, **kwargs)
        given = signature(self.original).bind(*args, **kwargs)  # older hosts pass them by position
        transformer_options = given.arguments["transformer_options"]
        dit = transformer_options.get("patches_replace", {}).get("dit", {})
        visited = {key: patch for key, patch in dit.items() if key not in self.blocks}
        given.arguments["transformer_options"] = {**transformer_options, "patches_replace": {"dit": visited}}
        network = self.original.__self__
        stacks = [(getattr(network, f"{kind}s"), index) for kind, index in self.blocks]
        before = [stack[index] for stack, index in stacks]
        try:
            for (stack, index), block in zip(stacks, before, strict=True):
                stack[index] = Direct(block)
            return self.original(*given.args, **given.kwargs)
        finally:
            for (stack, index), block in zip(stacks, before, strict=True):
                stack[index] = block


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("blocks", [(FIRST,), (SECOND,), (LAST,), (FIRST, SECOND), (FIRST, LAST)], ids=str)
def test_forwards_that_visit_some_blocks_only(passes, blocks, depth, caplog):
    """The picture is that of a run without a cache, or one whose skipped steps were rebuilt: never half of one."""
    model = passes.model()
    plain = passes.sample(model)
    model.add_object_patch("diffusion_model.forward_orig", Leaves(own_forward(model), blocks))
    with caplog.at_level(logging.INFO, logger="dicache"):
        out = passes.sample(passes.cached(model, threshold=1e9, probe_depth=depth))
    assert len(passes.run.passes) == STEPS
    warnings = warnings_of(caplog)
    if blocks == (LAST,):
        assert torch.equal(out, plain), "there was something to rebuild from"
    elif FIRST in blocks or depth == 2:
        assert torch.equal(out, plain)
        assert undecided(passes) == STEPS
        assert len(warnings) == 1
    else:
        assert passes.run.reused > 0
        assert (out - plain).norm() < plain.norm()
        assert warnings == []


def test_a_last_block_that_goes_missing_costs_the_cache_and_not_the_picture(passes, caplog):
    """As when a node leaves a block out for a part of the schedule."""
    model = passes.model()
    plain = passes.sample(model)
    model.add_object_patch("diffusion_model.forward_orig", Leaves(own_forward(model), (LAST,), since=4))
    with caplog.at_level(logging.INFO, logger="dicache"):
        out = passes.sample(passes.cached(model, threshold=1e9, warmup_steps=4))
    assert torch.equal(out, plain)
    assert warnings_of(caplog) == [
        "DiCache: the model stops before its last block, where skipped steps are rebuilt (another node's forward?). "
        "The rest of this run is computed."
    ]
    assert {d.reason for p in passes.run.passes[4:] for d in p.decisions} == {"stack left early"}


def test_without_them_there_is_no_warning(passes, caplog):
    with caplog.at_level(logging.INFO, logger="dicache"):
        passes.sample(passes.cached(beside(passes, ())))
    assert WARNING not in caplog.text
    assert undecided(passes) == 0
