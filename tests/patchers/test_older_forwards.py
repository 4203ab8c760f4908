"""Forwards that other packs copied from an older ComfyUI (PuLID-Flux, TeaCache): blocks get fewer arguments there."""

import types

import pytest
import torch
import variants
import variants_wan
from cached import ALWAYS, NEVER, Cached, counted, plain, stack_of


def older_forward(self, img, img_ids, txt, txt_ids, timesteps, y, guidance=None, control=None,
                  transformer_options=None, attn_mask=None, **_):  # fmt: skip
    """Flux's ``forward_orig`` as it was before blocks took ``transformer_options`` and ``img_slice``."""
    from comfy.ldm.flux.layers import timestep_embedding

    replace = (transformer_options or {}).get("patches_replace", {}).get("dit", {})
    img = self.img_in(img)
    vec = self.time_in(timestep_embedding(timesteps, 256).to(img.dtype)) + self.vector_in(y)
    vec = vec + self.guidance_in(timestep_embedding(guidance, 256).to(img.dtype))
    txt = self.txt_in(txt)
    pe = self.pe_embedder(torch.cat((txt_ids, img_ids), dim=1))
    for i, block in enumerate(self.double_blocks):
        if ("double_block", i) in replace:

            def run(args, block=block):
                return dict(zip(("img", "txt"), block(**args), strict=True))

            args = {"img": img, "txt": txt, "vec": vec, "pe": pe}
            out = replace["double_block", i](args, {"original_block": run})
            img, txt = out["img"], out["txt"]
        else:
            img, txt = block(img=img, txt=txt, vec=vec, pe=pe)
    img = torch.cat((txt, img), 1)
    for i, block in enumerate(self.single_blocks):
        if ("single_block", i) in replace:

            def run(args, block=block):
                return {"img": block(args["img"], vec=args["vec"], pe=args["pe"])}

            img = replace["single_block", i]({"img": img, "vec": vec, "pe": pe}, {"original_block": run})["img"]
        else:
            img = block(img, vec, pe)
    return self.final_layer(img[:, txt.shape[1] :], vec)


@pytest.fixture
def older(pack):
    variant = variants.flux()
    variant.model.forward_orig = types.MethodType(older_forward, variant.model)
    return variant


def louder(args, extra):
    out = extra["original_block"](args)
    return {**out, "img": out["img"] * 1.1}


@pytest.mark.parametrize(
    "settings", [{}, {"predictor": "trajectory"}, {"indicator": "teacache"}, {"indicator": "seacache"}]
)
@pytest.mark.parametrize("places", [[], [("double_block", 0), ("single_block", 0), ("single_block", 2)]])
def test_blocks_without_newer_arguments_are_cached(pack, older, settings, places):
    options = {"patches_replace": {"dit": dict.fromkeys(places, louder)}}
    expected = plain(older, older.x, **options)
    assert torch.equal(Cached(pack, older, NEVER, settings)(older.x, 0, options), expected)
    wrapped = Cached(pack, older, ALWAYS, settings)
    wrapped(older.x, 0, options)
    with counted(stack_of(wrapped)) as calls:
        reused = wrapped(older.x, 1, options)
    if "indicator" in settings:
        wrapped(older.x, 2, options)
    assert "reused" in wrapped.decisions
    assert calls[1:] == [0] * 4
    torch.testing.assert_close(reused, expected, atol=2e-5, rtol=2e-5)


def test_samples_that_disagree_are_computed_alone_there_too(pack, older):
    wrapped = Cached(pack, older, 1e-6)
    first = wrapped(older.x, 0)
    x = older.x.clone()
    x[1] = 2 * x[1] + 1
    mixed = wrapped(x, 1)
    assert wrapped.decisions[2:] == ["reused", "error"]
    torch.testing.assert_close(mixed[0], first[0], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(mixed[1], plain(older, x)[1], atol=2e-5, rtol=2e-5)


def test_a_forward_that_leaves_the_probe_out_is_computed(pack):
    """One that caches by itself may begin in the middle of the stack."""
    variant = variants.flux()
    own = variant.model.forward_orig

    def shorter(*args, **kwargs):
        blocks = variant.model.double_blocks
        variant.model.double_blocks = blocks[1:]
        try:
            return own(*args, **kwargs)
        finally:
            variant.model.double_blocks = blocks

    variant.model.forward_orig = shorter
    wrapped = Cached(pack, variant, ALWAYS)
    expected = plain(variant, variant.x)
    assert all(torch.equal(wrapped(variant.x, step), expected) for step in range(3))
    assert set(wrapped.decisions) == {"no block seen"}


@pytest.mark.parametrize(
    "make", [variants.flux, variants.chroma, variants.hunyuan_text_to_video, variants_wan.wan_camera]
)
def test_teacache_sees_its_input_where_block_0_is_replaced(pack, make):
    """The host has other names for a block's arguments towards a replacement."""
    variant, options = make(), {"patches_replace": {"dit": {("double_block", 0): louder}}}
    expected = plain(variant, variant.x, **options)
    seen = []
    for given in (options, {}):
        wrapped = Cached(pack, variant, ALWAYS, {"indicator": "teacache"})
        computed = wrapped(variant.x, 0, given)
        (history, *_) = wrapped.session.histories
        seen.append(history.indicator.previous)
        torch.testing.assert_close(wrapped(variant.x, 1, given), computed, atol=2e-5, rtol=2e-5)
        assert wrapped.decisions[2:] == ["reused"] * 2
        if given:
            assert torch.equal(computed, expected)
    assert torch.equal(*seen)
