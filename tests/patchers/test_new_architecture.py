"""A model that nobody has heard of: one adapter and one line in ``ADAPTERS`` give it a cache."""

import pytest
import torch
from cached import ALWAYS, Cached, plain
from torch import nn
from variants import Variant


class Ladder(nn.Module):
    """Four blocks on the pixels of a picture, in the manner of the host: wrappers around it, patches on its blocks."""

    def __init__(self):
        super().__init__()
        self.rungs = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))

    def forward(self, x, timestep, transformer_options):
        from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers

        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, transformer_options)
        executor = WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timestep, transformer_options)

    def _forward(self, x, timestep, transformer_options):
        img = x.flatten(2).transpose(1, 2)
        patches = transformer_options.get("patches_replace", {}).get("dit", {})
        for i, rung in enumerate(self.rungs):

            def run(args, rung=rung):
                return {"img": args["img"] + rung(args["img"])}

            args = {"img": img, "transformer_options": transformer_options}
            patch = patches.get(("rung", i))
            img = (patch(args, {"original_block": run}) if patch else run(args))["img"]
        return img.transpose(1, 2).reshape(x.shape)


@pytest.fixture
def ladder(pack, monkeypatch):
    patchers = pack.model_patchers

    class LadderAdapter(patchers.Adapter):
        name = "ladder"
        models = (patchers.adapter.class_name(Ladder()),)

        def blocks(self, model):
            return [patchers.blocks.Block(("rung", i)) for i in range(len(model.rungs))]

        def span(self, model, call):
            return patchers.blocks.TokenSpan()

        def modulated(self, model, args):
            return args["img"]

    with pytest.raises(ValueError, match="does not know the model class"):
        patchers.adapter_for(Ladder())
    monkeypatch.setattr(patchers.registry, "ADAPTERS", [*patchers.registry.ADAPTERS, LadderAdapter()])
    torch.manual_seed(0)
    model = Ladder()
    return Variant(model, torch.randn(2, 3, 4, 4), tokens=16, norm_input=model.rungs[0])


@torch.no_grad()
def test_it_is_cached(pack, ladder):
    seen = []
    ladder.model.rungs[3].register_forward_hook(lambda *_: seen.append(1))
    cached = Cached(pack, ladder, ALWAYS)
    expected = plain(ladder, ladder.x)
    assert torch.equal(cached(ladder.x, 0), expected)
    torch.testing.assert_close(cached(ladder.x, 1), expected)
    assert cached.decisions == ["no anchor yet"] * 2 + ["reused"] * 2
    assert len(seen) == 2, "the plain pass and the first one: the reused one ends behind its probe"
