"""FasterCache's pairs in the real sampler: who follows whom, what runs, and what a split batch changes."""

import pytest
import torch
from passes import Passes, assert_close
from testbed.captions import CAPTIONS

STEPS = 16


@pytest.fixture(params=["hunyuan_video", "wan"])
def passes(comfy, request):
    return Passes(comfy, request.param)


def followed(passes, **settings):
    """The model with FasterCache: every second step from the fifth on."""
    policy = passes.core.policies.chosen_policy("fastercache", warmup_steps=4, **settings)
    config = passes.core.resolve(passes.architecture, policy=policy)
    return passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=passes.runs)


def computed(passes) -> list[list[int]]:
    """Steps computed per sample, the sample with most of them first."""
    return sorted(
        ([step for step, reused in sample if not reused] for sample in passes.decisions()), key=len, reverse=True
    )


def test_the_negative_follows_the_positive_and_only_rows_that_are_computed_run(passes, batching):
    batching(lambda: True)
    model, rows = followed(passes), []
    network = model.model.diffusion_model
    inside = network.blocks[5].self_attn if passes.architecture == "wan" else network.single_blocks[2].linear1
    hook = inside.register_forward_hook(lambda _layer, _args, out: rows.append(len(out)))  # of a block that really runs
    try:
        latent = passes.sample(model, passes.text(CAPTIONS[0]), steps=STEPS, cfg=3.0)
    finally:
        hook.remove()
    positive, negative = computed(passes)
    assert set(negative) < set(positive) < set(range(STEPS))
    assert sum(rows) == len(positive) + len(negative)
    assert {1, 2} == set(rows)
    assert torch.isfinite(latent).all()


def test_a_negative_that_says_the_same_becomes_the_positive(passes, batching):
    """Then guidance does nothing, and what is left is the positive stream alone: so no row follows another's leader."""
    batching(lambda: True)
    text = passes.text(CAPTIONS[1])
    guided = passes.sample(followed(passes), text, passes.text(CAPTIONS[1]), steps=STEPS, cfg=3.0)
    assert len(passes.decisions()) == 2
    alone = passes.sample(followed(passes), text, steps=STEPS, cfg=1.0)
    assert_close(guided, alone, 1e-3)


def test_in_passes_of_their_own_each_goes_on_from_its_own_history(passes, batching):
    batching(lambda: False)
    latent = passes.sample(followed(passes), steps=STEPS, cfg=3.0)
    one, other = computed(passes)
    assert one == other
    assert len(one) < STEPS
    assert torch.isfinite(latent).all()


@pytest.mark.parametrize("target", ["2x", "10"])
def test_a_target_is_met_by_both_together(passes, batching, target):
    batching(lambda: True)
    passes.sample(followed(passes, target=target), steps=STEPS, cfg=3.0)
    positive, negative = computed(passes)
    wanted = passes.core.target.Target.parse(target).computed(STEPS)
    assert abs((len(positive) + len(negative)) / 2 - wanted) <= 0.5
    assert len(positive) > len(negative)


def test_off_is_exact_with_guidance(passes, batching):
    batching(lambda: True)
    off = followed(passes, threshold=0.0)
    assert torch.equal(passes.sample(off, steps=3, cfg=3.0), passes.sample(passes.model(), steps=3, cfg=3.0))
