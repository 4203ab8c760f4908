"""Parts of the stack of every family that has one, skipped by a list: with a cache around it, compared with itself."""

import sys

import pytest
import torch
import toys
import toys_keyed
import variants
import variants_wan
from cached import (
    ALWAYS,
    NEVER,
    Cached,
    assert_near,
    assert_same,
    built,
    counted,
    options_of,
    plain,
    scaled,
    stack_of,
    tensors,
)
from test_families import hold
from test_unet import sd_1
from toy import Toy

pytestmark = pytest.mark.usefixtures("inference")

FIFTY = tuple(1 - i / 50 for i in range(51))
COMPUTED, REUSED = 6, 7  # two steps of the published schedule, one after the other
REFUSED = {"seedvr2", "hidream_o1"}


def listed(shape):
    """Of every part its first blocks and its last one, if that leaves one to run."""
    found = []
    for name, blocks in zip(shape.names, shape.parts, strict=True):
        found.append(f"{name} 0" if blocks < 4 else f"{name} 0-1 {blocks - 1}")
    return ", ".join(found)


@pytest.fixture(params=[*toys.TOYS, *variants.VARIANTS], ids=lambda make: make.__name__)
def toy(request, pack):
    toy = built(request.param)
    family = pack.model_patchers.family_of(toy.model)
    if family.architecture in REFUSED or pack.model_patchers.family.class_name(toy.model) in family.entangled:
        pytest.skip("a family that is refused")
    if isinstance(toy, Toy):
        toy.clear()
    return toy


@pytest.fixture
def in_parts(pack, toy):
    family = pack.model_patchers.family_of(toy.model)

    def make(blocks=None, **settings):
        settings |= dict(indicator="profilingdit", mask=blocks or listed(family.shape(toy.model)))
        return Cached(pack, toy, 1.0, settings, sigmas=FIFTY)

    return make


def run_alone(toy, x, step):
    return [t.clone() for t in tensors(toy(x, options_of(step, sigmas=FIFTY)))]


def test_a_call_that_is_computed_and_kept_is_the_same_to_the_last_bit(toy, in_parts):
    expected, before = run_alone(toy, toy.x, COMPUTED), hold(toy.model)
    wrapped = in_parts()
    assert_same(wrapped(toy.x, COMPUTED), expected)
    assert set(wrapped.decisions) == {"error"}
    assert wrapped.session.histories.held_bytes() > 0
    assert hold(toy.model) == before


def test_blocks_of_the_list_do_not_run_and_the_others_do(toy, in_parts):
    wrapped = in_parts()
    computed = [t.clone() for t in tensors(wrapped(toy.x, COMPUTED))]
    skipped = {b for s in wrapped.session.run.segments for b in range(s.first, s.last + 1)}
    blocks = stack_of(wrapped)
    with counted(blocks) as calls:
        reused = wrapped(toy.x, REUSED)
    assert calls == [int(block not in skipped) for block in range(len(blocks))]
    assert 0 < len(skipped) < len(blocks)
    assert_near(reused, computed, 1e-4)
    assert {d.share for d in wrapped.session.statistics.passes[-1].decisions} == {1 - len(skipped) / len(blocks)}


def test_of_an_input_that_moves_the_rest_of_the_stack_sees_what_moved(toy, in_parts):
    wrapped = in_parts()
    computed = [t.clone() for t in tensors(wrapped(toy.x, COMPUTED))]
    moved = wrapped(scaled(toy.x, 0.5), REUSED)
    assert all(t.isfinite().all() for t in tensors(moved))
    assert not torch.equal(tensors(moved)[0], computed[0])


def test_recording_every_block_changes_no_bit(pack, toy):
    expected, before = run_alone(toy, toy.x, 0), hold(toy.model)
    wrapped = Cached(pack, toy, NEVER, dict(indicator="recorder"), sigmas=FIFTY)
    for step in range(2):
        assert_same(wrapped(toy.x, step), expected)
    wrapped.session.finalize()
    first, second = wrapped.session.statistics.block_changes[:2]
    assert first == second == (0.0,) * len(stack_of(wrapped)), "the same input, and the same work"
    wrapped(scaled(toy.x, 0.5), 2)
    wrapped.session.finalize()
    assert all(change > 0 for change in wrapped.session.statistics.block_changes[2])
    assert hold(toy.model) == before


@pytest.mark.parametrize("step", [COMPUTED, REUSED])
def test_nothing_is_left_when_a_call_fails(toy, in_parts, step):
    wrapped, before = in_parts(), hold(toy.model)
    if step == REUSED:
        wrapped(toy.x, COMPUTED)
    *_, last = stack_of(wrapped)
    seen = []

    def fail(*_):
        seen.append(1)
        raise RuntimeError("interrupted, say")

    handle = last.register_forward_hook(fail)  # hooks see blocks that are skipped too
    try:
        with pytest.raises(RuntimeError, match="interrupted"):
            wrapped(toy.x, step)
    finally:
        handle.remove()
    assert seen
    assert hold(toy.model) == before


def refusal(pack, network, **settings):
    registry = sys.modules[f"{pack.model_patchers.__name__}.registry"]
    config = pack.dicache_core.CacheConfig(**({"indicator": "profilingdit", "predictor": "reuse"} | settings))
    with pytest.raises(ValueError) as found:  # noqa: PT011 - the words are looked at by who calls
        registry.check_stack(pack.model_patchers.family_of(network), network, config)
    return str(found.value)


# ---------------------------------------------------------------- decided in the pass, at a seam


SEAMS = [
    toys_keyed.aura_flow,
    toys_keyed.chroma_radiance,
    toys_keyed.hunyuan_3d,
    toys.hidream_i1,
    toys.boogu,
    variants.flux,
    variants.flux_kontext,
    variants.chroma,
    variants.hunyuan_text_to_video,
    variants.hunyuan_image_to_video,
    variants.hunyuan_image,
]
AT_A_SEAM = pytest.mark.parametrize("toy", SEAMS, indirect=True, ids=lambda make: make.__name__)


@pytest.fixture
def at_the_seam(pack, toy):
    def make(threshold, **settings):
        return Cached(pack, toy, threshold, dict(indicator="h2cache") | settings)

    return make


def test_there_are_eight_families_with_a_seam(pack):
    found = {pack.model_patchers.family_of(built(make).model).architecture for make in SEAMS}
    assert found == {family.architecture for family in pack.model_patchers.FAMILIES if len(family.parts) == 2} == {
        "flux", "chroma", "chroma_radiance", "hunyuan_video", "aura_flow", "hunyuan3d", "hidream", "boogu",
    }  # fmt: skip


@AT_A_SEAM
def test_two_stages_that_compute_change_no_bit_with_every_hook_in_place(toy, at_the_seam):
    wrapped, before = at_the_seam(NEVER), hold(toy.model)
    for step in range(3):
        x = scaled(toy.x, 1 - step / 10)
        expected = [t.clone() for t in tensors(plain(toy, x, step))]
        assert_same(wrapped(x, step), expected)
    assert set(wrapped.decisions) == {"no anchor yet", "error"}
    assert hold(toy.model) == before


@AT_A_SEAM
def test_of_two_reused_stages_the_first_block_of_each_runs(toy, at_the_seam):
    wrapped = at_the_seam(ALWAYS)
    computed = [t.clone() for t in tensors(wrapped(toy.x, 0))]
    begin = wrapped.session.run.shape.begin(1)
    blocks = stack_of(wrapped)
    with counted(blocks) as calls:
        assert_near(wrapped(toy.x, 1), computed, 1e-4)
    assert calls == [int(number in (0, begin)) for number in range(len(blocks))]


@AT_A_SEAM
def test_rows_that_disagree_are_each_as_they_are_alone(toy, at_the_seam):
    if toy.x.shape[0] == 1:
        pytest.skip("the host runs this variant alone")
    wrapped = at_the_seam(1e-6)
    first = [t.clone() for t in tensors(wrapped(toy.x, 0))]
    x = toy.x.clone()
    x[1] = 2 * x[1] + 1
    mixed = wrapped(x, 1)
    assert [d.reuse for d in wrapped.session.statistics.passes[-1].decisions] == [True, False]
    assert_near(mixed[:1], first[0][:1], 1e-4)
    assert_near(mixed[1:], tensors(plain(toy, x))[0][1:], 1e-4)


@AT_A_SEAM
def test_nothing_is_left_when_a_stage_fails(toy, at_the_seam):
    wrapped, before = at_the_seam(ALWAYS), hold(toy.model)
    wrapped(toy.x, 0)
    handle = stack_of(wrapped)[-1].register_forward_hook(_fail)
    try:
        with pytest.raises(RuntimeError, match="interrupted"):
            wrapped(toy.x, 1)
    finally:
        handle.remove()
    assert hold(toy.model) == before


def _fail(*_):
    raise RuntimeError("interrupted, say")


@pytest.mark.parametrize("depth", [2, 3])
def test_a_probe_as_deep_as_a_stage_is_refused(pack, depth):
    words = refusal(pack, built(variants.flux).model, indicator="h2cache", probe_depth=depth)
    assert "but a part of this Flux model has 2 blocks: write 1 to 1, or -1 (automatic)" in words


# ---------------------------------------------------------------- a network whose sums are known


class Rung(torch.nn.Module):
    """Adds a number, in place as many of the host's blocks do."""

    adds = 0.0

    def forward(self, img):
        img += self.adds
        return img


class Ladder(torch.nn.Module):
    """Six blocks on the pixels of an image; a control is added after each of them, in place."""

    def __init__(self):
        super().__init__()
        self.rungs = torch.nn.ModuleList(Rung() for _ in range(6))

    def forward(self, x, timestep, transformer_options, control):
        img = x.flatten(2).transpose(1, 2).clone()
        for rung, add in zip(self.rungs, control, strict=True):
            img = rung(img)
            img += add
        return img.transpose(1, 2).reshape(x.shape)


@pytest.fixture
def ladder(pack, monkeypatch):
    patchers = pack.model_patchers
    row = patchers.Family("ladder", (patchers.family.class_name(Ladder()),), (patchers.Part("rungs", "img"),))
    monkeypatch.setattr(patchers.registry, "FAMILIES", [*patchers.registry.FAMILIES, row])

    def sum_of(wrapped, step, entering, adds, control):
        for rung, value in zip(wrapped.variant.model.rungs, adds, strict=True):
            rung.adds = float(value)
        wrapped.variant.arguments["control"] = [float(value) for value in control]
        out = wrapped(torch.full((2, 3, 4, 4), float(entering)), step)
        assert out.std() == 0
        return out[0, 0, 0, 0].item()

    settings = dict(indicator="profilingdit", mask="blocks 1-3 5")
    toy = Toy(Ladder(), torch.zeros(2, 3, 4, 4))
    return sum_of, Cached(pack, toy, 1.0, settings, sigmas=FIFTY)


def test_a_control_on_every_block_is_added_once(ladder):
    """What it adds between skipped blocks is a part of what they added when they ran; after them it is today's."""
    sum_of, wrapped = ladder
    computed = sum_of(wrapped, COMPUTED, 1000, adds=(1, 2, 3, 4, 5, 6), control=(10, 20, 30, 40, 50, 60))
    assert computed == 1000 + (1 + 2 + 3 + 4 + 5 + 6) + (10 + 20 + 30 + 40 + 50 + 60)
    skipped = sum_of(wrapped, REUSED, 2000, adds=(7, 99, 99, 99, 8, 99), control=(100, 200, 300, 400, 500, 600))
    stretch = 2 + 20 + 3 + 30 + 4  # blocks 1 to 3, as they were, with the controls between them
    assert skipped == 2000 + 7 + 100 + stretch + 400 + 8 + 500 + 6 + 600


def test_a_control_that_is_always_there_changes_nothing_of_what_is_kept(ladder):
    sum_of, wrapped = ladder
    adds, control = (1, 2, 3, 4, 5, 6), (10, 20, 30, 40, 50, 60)
    found = [sum_of(wrapped, step, 1000, adds, control) for step in range(COMPUTED, COMPUTED + 6)]
    assert found == [1000 + 21 + 210] * 6


# ---------------------------------------------------------------- refused


def test_refusals(pack):
    unet = "ProfilingDiT skips parts of a stack of blocks, and a U-Net has none: choose deepcache"
    assert refusal(pack, built(sd_1).model) == unet
    entangled = refusal(pack, built(variants_wan.wan_vace).model, mask="blocks 0")
    assert "mixes more into the batch between its blocks (VACE, sound, faces, poses)" in entangled
    for make in (toys_keyed.hidream_o1, toys_keyed.seedvr2):
        assert "needs what its blocks leave behind: choose another policy" in refusal(pack, built(make).model)
    assert "none for Qwen-Image" in refusal(pack, built(toys_keyed.qwen_image).model, architecture="qwen_image")
    beyond = refusal(pack, built(toys_keyed.qwen_image).model, mask="blocks 4")
    assert "this model has 4 of them: write 0 to 3" in beyond
    without_a_seam = refusal(pack, built(toys_keyed.qwen_image).model, indicator="h2cache")
    assert "decides on double blocks and single ones apart, and this model has one kind of blocks" in without_a_seam
