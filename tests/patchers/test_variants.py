"""Each model class with a cache around its stack, compared with itself; the host's classes, random weights."""

import importlib

import pytest
import torch
from cached import ALWAYS, NEVER, SIGMAS, Cached, counted, plain, stack_of


def picture_of(wrapped, **call):
    """Where the picture's tokens are in a call with these arguments."""
    place = importlib.import_module(f"{wrapped.stack.__package__}.image_tokens")
    call = dict(ref_latent=None) | wrapped.variant.arguments | call
    return place.ImageTokens(wrapped.family, wrapped.variant.model, call, samples=len(wrapped.variant.x))


@pytest.fixture
def cached(pack, variant):
    def make(threshold, **settings):
        return Cached(pack, variant, threshold, settings)

    return make


def test_composition_that_computes_changes_nothing(variant, cached):
    wrapped = cached(NEVER)
    for step in range(3):
        x = variant.x * (1 - step / 10)
        assert torch.equal(wrapped(x.clone(), step), plain(variant, x, step))
    assert set(wrapped.decisions) == {"no anchor yet", "error"}


def test_computed_blocks_behind_the_probe_only_run(variant, cached, monkeypatch):
    """Nothing is done about any of them but the last, so what a computed pass costs hardly grows with the depth."""
    wrapped, looked_at = cached(NEVER), set()

    class Watched(wrapped.stack.ForwardCall):
        def __init__(self, block, *args):
            looked_at.add(block.key)
            super().__init__(block, *args)

    monkeypatch.setattr(wrapped.stack, "ForwardCall", Watched)
    wrapped(variant.x.clone(), 0)
    first, *_, last = wrapped.family.blocks(variant.model)
    assert wrapped.session.config.probe_depth == 1
    assert looked_at == {first.key, last.key}


def test_span_is_what_the_head_keeps(variant, cached):
    """The gradient of the output reaches exactly the span's tokens behind the last block."""
    if variant.needed:
        pytest.skip("work behind the last block mixes tokens; the same class without it is tested")
    wrapped = cached(NEVER)
    first, *_, last = wrapped.family.blocks(variant.model)
    picture, kept = picture_of(wrapped, x=variant.x), {}

    def into(_module, args, kwargs):
        picture.read(first.argument(first.part.hidden, args, kwargs), first.part)

    def behind(_module, _args, out):
        kept["img"] = out[0] if isinstance(out, tuple) else out
        kept["img"] = kept["img"].detach().clone().requires_grad_()
        return (kept["img"].clone(), *out[1:]) if isinstance(out, tuple) else kept["img"].clone()

    handles = [
        first.module.register_forward_pre_hook(into, with_kwargs=True),
        last.module.register_forward_hook(behind),
    ]
    plain(variant, variant.x).square().sum().backward()
    for handle in handles:
        handle.remove()
    places = torch.arange(kept["img"].shape[1])[None, :, None].expand(len(variant.x), -1, 1)
    seen = picture.read(places, last.part)[0, :, 0]
    reached = kept["img"].grad.abs().sum((0, 2)).nonzero()[:, 0]
    assert torch.equal(seen, reached)
    assert len(seen) == variant.tokens
    text = kept["img"].shape[1] - picture.image_count if last.part.joined else 0
    assert seen[0] == variant.in_front + text


def test_same_input_reused_gives_the_same_output(variant, cached):
    wrapped = cached(ALWAYS)
    computed = wrapped(variant.x.clone(), 0)
    blocks = stack_of(wrapped)
    with counted(blocks) as stack, counted(variant.beside) as beside:
        reused = wrapped(variant.x.clone(), 1)
    assert set(wrapped.decisions[len(variant.x) :]) == {"reused"}
    torch.testing.assert_close(reused, computed, atol=2e-5, rtol=2e-5)
    assert stack == [1] + [0] * (len(blocks) - 1), "blocks past the probe ran"
    chained = 2 if "Vace" in type(variant.model).__name__ else 1  # two control videos
    assert beside == [chained if module in variant.needed else 0 for module in variant.beside]


def test_one_reused_sample_of_two(variant, cached):
    """Rows are decided alone: here one stands still and the other one jumps."""
    if len(variant.x) == 1:
        pytest.skip("the host runs this variant alone only")
    wrapped = cached(1e-6)
    first = wrapped(variant.x.clone(), 0)
    x = variant.x.clone()
    x[1] = 2 * x[1] + 1
    mixed = wrapped(x.clone(), 1)
    assert wrapped.decisions[2:] == ["reused", "error"]
    torch.testing.assert_close(mixed[0], first[0], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(mixed[1], plain(variant, x)[1], atol=2e-5, rtol=2e-5)


def test_what_the_cache_keeps_is_its_own(variant, cached):
    """Running on does not change what was kept: blocks and what follows them write into their input."""
    wrapped = cached(ALWAYS)
    first = wrapped(variant.x.clone(), 0).clone()
    for step in range(1, 5):
        wrapped(variant.x * (1 + step), step)
    torch.testing.assert_close(wrapped(variant.x.clone(), 5), first, atol=2e-5, rtol=2e-5)


def test_model_is_whole_again_when_a_skipped_pass_fails(variant, cached):
    wrapped = cached(ALWAYS)
    computed = wrapped(variant.x.clone(), 0)
    head = getattr(variant.model, "head", None) or variant.model.final_layer

    def fail(*_):
        raise RuntimeError("out of memory, say")

    failing = [head.register_forward_pre_hook(fail)]
    if hasattr(variant.model, "head_global"):
        failing.append(variant.model.head_global.register_forward_pre_hook(fail))
    with pytest.raises(RuntimeError, match="out of memory"):
        wrapped(variant.x.clone(), 1)
    assert set(wrapped.decisions) == {"no anchor yet"}, "a failed pass is no step"
    for handle in failing:
        handle.remove()
    with counted(variant.beside) as beside:
        assert torch.equal(plain(variant, variant.x), computed)
    assert all(beside), "work beside the stack did not come back"


def test_modulated_is_what_block_0_attends_to(variant, cached):
    wrapped, seen = cached(NEVER), {}
    first = wrapped.family.blocks(variant.model)[0]
    picture = picture_of(wrapped, x=variant.x)

    def watch(_, args):
        seen.setdefault("attended", args[0].clone())

    def into(_module, args, kwargs):
        modulated = wrapped.family.modulated(variant.model, first.by_name(args, kwargs))
        seen["ours"] = picture.read(modulated, first.part).clone()

    handles = [variant.norm_input.register_forward_pre_hook(watch)]
    handles.append(first.module.register_forward_pre_hook(into, with_kwargs=True))
    plain(variant, variant.x)
    for handle in handles:
        handle.remove()
    attended = picture.read(seen["attended"], first.part)
    torch.testing.assert_close(seen["ours"], attended, atol=1e-5, rtol=1e-5)

    edges = variant.model.patch_size if isinstance(variant.model.patch_size, (tuple, list)) else (2, 2)
    grid = [-(-size // edge) for size, edge in zip(variant.x.shape[2:], edges[-(variant.x.ndim - 2) :], strict=True)]
    sea = cached(ALWAYS, indicator="seacache")
    sea(variant.x.clone(), 5)
    step = sea.session.schedule.step_at(SIGMAS[5])
    for row, history in zip(attended, sea.session.histories, strict=True):
        filtered = history.indicator.view(row.unflatten(0, grid), step).flatten(0, -2)
        torch.testing.assert_close(history.indicator.previous, filtered, atol=1e-5, rtol=1e-4)
