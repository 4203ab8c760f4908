"""A model that nobody has heard of: one row of the table gives it a cache."""

import pytest
import torch
from cached import ALWAYS, Cached, counted, plain
from torch import nn
from variant import Variant


class Rung(nn.Linear):
    def forward(self, img):
        return img + super().forward(img)


class Ladder(nn.Module):
    """Four blocks on the pixels of a picture."""

    def __init__(self):
        super().__init__()
        self.rungs = nn.ModuleList(Rung(3, 3) for _ in range(4))

    def forward(self, x, timestep, transformer_options):
        img = x.flatten(2).transpose(1, 2)
        for rung in self.rungs:
            img = rung(img)
        return img.transpose(1, 2).reshape(x.shape)


@pytest.fixture
def ladder(pack, monkeypatch):
    patchers = pack.model_patchers
    assert patchers.family_of(Ladder()) is None
    row = patchers.Family("ladder", (patchers.family.class_name(Ladder()),), (patchers.Part("rungs", "img"),))
    monkeypatch.setattr(patchers.registry, "FAMILIES", [*patchers.registry.FAMILIES, row])
    torch.manual_seed(0)
    model = Ladder()
    return Variant(model, torch.randn(2, 3, 4, 4), tokens=16, norm_input=model.rungs[0])


@torch.no_grad()
def test_it_is_cached(pack, ladder):
    cached = Cached(pack, ladder, ALWAYS)
    expected = plain(ladder, ladder.x)
    with counted(ladder.model.rungs) as calls:
        assert torch.equal(cached(ladder.x, 0), expected)
        torch.testing.assert_close(cached(ladder.x, 1), expected)
    assert cached.decisions == ["no anchor yet"] * 2 + ["reused"] * 2
    assert calls == [2, 1, 1, 1], "the reused pass ends behind its probe"
