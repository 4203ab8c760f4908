"""LoRA hooks whose strength keyframes change in the middle of a run: what was kept before is of other weights."""

import pytest
import torch
from passes import ARCHITECTURES, COMPOSED, STEPS, Passes, streams

LAYERS = ("double_blocks.1.img_mlp.0.weight", "blocks.1.ffn.0.weight")


@pytest.fixture(params=ARCHITECTURES)
def passes(request, comfy, pack):
    return Passes(comfy, request.param)


def with_lora(passes, *keyframes):
    """The caption with a LoRA on it, ``keyframes`` being (start percent, strength)."""
    hooks = passes.comfy.module("comfy.hooks")
    weights = passes.model().model.state_dict()
    name = next(n for n in weights if n.endswith(LAYERS))
    out, into = weights[name].shape
    generator = torch.Generator().manual_seed(0)
    lora = {
        name.replace(".weight", ".lora_up.weight"): 0.1 * torch.randn(out, 2, generator=generator),
        name.replace(".weight", ".lora_down.weight"): 0.1 * torch.randn(2, into, generator=generator),
    }
    group = hooks.create_hook_lora(lora=lora, strength_model=1.0, strength_clip=0.0)
    frames = hooks.HookKeyframeGroup()
    for start, strength in keyframes:
        frames.add(hooks.HookKeyframe(strength=strength, start_percent=start, guarantee_steps=0))
    if keyframes:
        group.set_keyframes_on_hooks(frames)
    return hooks.set_conds_props(
        [passes.text()], strength=1.0, set_cond_area="default", mask=None, hooks=group, timesteps_range=None
    )[0]


def changed_at(passes, positive):
    """Steps at which the host changed the weights, the first one aside; and the uncached latent."""
    patcher, seen = passes.comfy.module("comfy.model_patcher").ModelPatcher, []
    apply = patcher.apply_hooks

    def watch(self, hooks, *args, **kwargs):
        if hooks is not None:  # as the host's loading asks
            seen.append(hooks.hooks[0].strength)
        return apply(self, hooks, *args, **kwargs)

    patcher.apply_hooks = watch
    try:
        latent = passes.sample(passes.model(), positive)
    finally:
        patcher.apply_hooks = apply
    assert len(seen) == STEPS
    return [step for step in range(1, STEPS) if seen[step] != seen[step - 1]], latent


def test_no_history_from_before_a_change_is_used_behind_it(passes):
    positive = with_lora(passes, (0.0, 1.0), (0.35, 0.0), (0.6, 1.0))
    changes, plain = changed_at(passes, positive)
    assert len(changes) == 2
    assert 1 < min(changes) < max(changes) < STEPS - 1, "steps that are computed anyway"
    assert not torch.equal(plain, passes.sample(passes.model(), with_lora(passes))), "the keyframes did nothing"
    passes.sample(passes.cached(threshold=1e9), positive)
    cells = passes.run.cells
    assert [cells[step] for step in changes] == ["c", "c"], f"reused at a change of the weights: {cells}"
    reasons = {p.step.step_index: p.decisions[0].reason for p in passes.run.passes}
    assert [reasons[step] for step in changes] == ["no anchor yet"] * 2
    assert cells.count("r") > 0, "nothing was reused between the changes"
    assert torch.equal(passes.sample(passes.cached(threshold=COMPOSED), positive), plain)


def test_strengths_that_stay_are_one_stream(passes):
    """Also where two keyframes have the same strength, and where there are none."""
    for keyframes in ((), ((0.0, 1.0), (0.5, 1.0))):
        passes.sample(passes.cached(threshold=1e9), with_lora(passes, *keyframes))
        assert passes.run.cells == "wwrrrrrrrl"
        assert len(streams(passes.run)) == 1
