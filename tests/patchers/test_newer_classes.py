"""Classes that came with ComfyUI 0.33 and later, and what is their own under a cache; elsewhere they skip by name."""

import logging
import sys
from dataclasses import dataclass, field

import pytest
import torch
import toys
import toys_keyed
import variants_wan
from cached import ALWAYS, NEVER, Cached, assert_near, built, plain
from host_network import BATCH, build, has, noise

pytestmark = pytest.mark.usefixtures("inference")
FRAMES, FRAME = 4, 9  # the reference among them


@pytest.fixture
def animate(pack, shows):
    """Wan Animate 2: the latent's first frame is the reference, the pose has one frame less."""
    made = variants_wan._wan("model_animate2.WanAnimate2Model", channels=36)
    made.x = noise(BATCH, 36, FRAMES, 6, 5)
    made.tokens = FRAMES * FRAME
    made.arguments |= dict(pose_latents=noise(BATCH, 16, FRAMES - 1, 6, 5, seed=2), clip_fea=noise(BATCH, 257, 1280))
    shows("toy", made.model)
    return made


@dataclass
class Counted:
    """How often each method of a block really ran; a block is entered by several, and never by ``forward``."""

    calls: dict = field(default_factory=dict)

    def watch(self, index, block):
        for name in ("forward_gen", "forward_pose", "kv_from_input"):
            self._watch(index, block, name, getattr(block, name))

    def _watch(self, index, block, name, own):
        def method(*args, **kwargs):
            self.calls.setdefault(name, []).append(index)
            return own(*args, **kwargs)

        setattr(block, name, method)


def ran(variant, call):
    counted = Counted()
    for index, block in enumerate(variant.model.blocks):
        counted.watch(index, block)
    try:
        call()
    finally:
        for block in variant.model.blocks:
            for name in ("forward_gen", "forward_pose", "kv_from_input"):
                delattr(block, name)
    return counted.calls


def test_animate_2_composed_is_the_bare_model(pack, animate):
    wrapped = Cached(pack, animate, NEVER)
    for step in range(3):
        x = animate.x * (1 - step / 10)
        assert torch.equal(wrapped(x.clone(), step), plain(animate, x, step))
    assert set(wrapped.decisions) == {"no anchor yet", "error"}


def test_animate_2_skips_both_branches(pack, animate):
    wrapped = Cached(pack, animate, ALWAYS)
    computed = wrapped(animate.x.clone(), 0)
    before = {name for block in animate.model.blocks for name in vars(block)}
    outs = []
    calls = ran(animate, lambda: outs.append(wrapped(animate.x.clone(), 1)))
    assert_near(outs[0], computed)
    assert calls == {"forward_pose": [0], "forward_gen": [0]}
    assert {name for block in animate.model.blocks for name in vars(block)} == before
    assert torch.equal(plain(animate, animate.x), computed)


@pytest.mark.parametrize("filled_by", ["a computed pass", "a skipped pass"])
def test_animate_2_fills_its_cache_of_the_pose(pack, animate, filled_by):
    """Later passes count on every block's, and a skipped one asks it for none behind the probe."""
    module = sys.modules[type(animate.model).__module__]
    store, wrapped = module.PoseBranchCache(), Cached(pack, animate, ALWAYS)
    options = {"animate2_cache": store}
    computed = wrapped(animate.x.clone(), 0, options if filled_by == "a computed pass" else None)
    calls = ran(animate, lambda: wrapped(animate.x.clone(), 1, options))
    assert store.filled(len(animate.model.blocks))
    later = [0] if filled_by == "a computed pass" else None
    assert calls.get("kv_from_input") == later
    assert calls["forward_gen"] == [0]
    fresh = Cached(pack, animate, NEVER)(animate.x.clone(), 2, options)
    torch.testing.assert_close(fresh[0], computed[0], atol=2e-5, rtol=2e-5)  # the host keeps the first row's for all


def test_animate_2_replaced_blocks_still_act(pack, animate):
    wrapped, calls = Cached(pack, animate, NEVER), []

    def louder(args, extra):
        calls.append(1)
        return {"img": extra["original_block"](args)["img"] * 1.1}

    options = {"patches_replace": {"dit": {("double_block", 2): louder}}}
    expected = plain(animate, animate.x, **options)
    assert torch.equal(wrapped(animate.x.clone(), 0, options), expected)
    assert len(calls) == 2


def test_music_of_several_windows_is_computed(pack, caplog):
    """Longer pieces run the stack once per window: the method says what to choose."""
    toy = toys.minimax_music()
    window = sys.modules[type(toy.model).__module__].latent_length(200)
    toy.x = noise(BATCH, 4, window + 3)
    expected = [plain(toy, toy.x, step).clone() for step in range(2)]
    wrapped = Cached(pack, toy, ALWAYS)
    with caplog.at_level(logging.WARNING):
        outs = [wrapped(toy.x, step).clone() for step in range(2)]
    assert all(map(torch.equal, outs, expected))
    assert caplog.text.count("runs its blocks several times in one step") == 1
    assert "choose the preset fidelity, balanced or fast" in caplog.text


def test_qwen_image_2_1_keeps_its_prompt(pack):
    """The first pass runs each block on the prompt alone too, which is no second run of the stack."""
    toy = built(toys_keyed.qwen_image_2_1)
    toy.model.current_patcher = type("Patcher", (), {"get_free_memory": lambda self, device: 2**40})()
    toy.model.reset_prefix_cache(True)
    try:
        expected = [plain(toy, toy.x, step).clone() for step in range(3)]
        toy.model.reset_prefix_cache(True)
        wrapped = Cached(pack, toy, ALWAYS)
        outs = [wrapped(toy.x, step).clone() for step in range(3)]
    finally:
        toy.model.reset_prefix_cache(False)
        del toy.model.current_patcher
    assert torch.equal(outs[0], expected[0])
    assert_near(outs[1:], expected[1:])
    assert wrapped.decisions[2:] == ["reused"] * 4


def test_published_says_what_to_choose_where_the_stack_depends_on_the_stage(pack):
    """TRELLIS.2 holds a stack per stage: structure, shape, texture."""
    if not has("trellis2.model"):
        pytest.skip("this ComfyUI has no comfy.ldm.trellis2.model.Trellis2")
    settings = dict(resolution=32, model_channels=64, cond_channels=12, num_blocks=2, num_heads=2, mlp_ratio=2.0)
    model = build("trellis2.model.Trellis2", **settings)
    patchers = pack.model_patchers
    assert patchers.family_of(model) is None
    check = sys.modules[f"{patchers.__name__}.attach"].check_stack
    with pytest.raises(ValueError, match=r"Trellis2 .* choose the preset fidelity, balanced or fast"):
        check(None, model, pack.dicache_core.resolve("Trellis2", "published"))
