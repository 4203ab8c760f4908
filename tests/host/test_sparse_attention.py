"""Sparse attention beside a cache: an override of the host's attention that leaves out keys, under every policy."""

import pytest
import torch
from every_policy import NEVER_AT_THIS_SIZE, POLICIES, STEPS, loosened, recorded
from passes import Passes

OFF_STEPS = 3
EVERY = 4  # one key of so many is left out
OVERRIDE = "optimized_attention_override"


class Sparse:
    """Leaves out every ``EVERY``-th key of whatever the model attends to, and counts."""

    def __init__(self):
        self.calls = 0

    def __call__(self, attention, q, k, v, heads, **options):
        self.calls += 1
        tokens = 2 if options.get("skip_reshape") else 1  # (B, heads, T, d) or (B, T, heads * d)
        kept = torch.arange(k.shape[tokens]) % EVERY != EVERY - 1
        k, v = (x.index_select(tokens, kept.nonzero().flatten()) for x in (k, v))
        return attention(q, k, v, heads, **options)


def sparse(model):
    """(the model with an override of attention of its own, the override)."""
    model, override = model.clone(), Sparse()
    model.model_options["transformer_options"][OVERRIDE] = override
    return model, override


@pytest.fixture(scope="module")
def flux(comfy):
    return Passes(comfy, "flux")


@pytest.fixture(scope="module")
def curve(flux):
    return recorded(flux)


@pytest.fixture(scope="module")
def plain(flux):
    """Uncached latents of sparse attention in ``STEPS`` and ``OFF_STEPS`` steps, and its calls per pass."""
    (model, override), (short, _) = sparse(flux.model()), sparse(flux.model())
    latent = flux.sample(model, steps=STEPS)
    return latent, flux.sample(short, steps=OFF_STEPS), override.calls // STEPS


def test_the_override_acts(flux, plain):
    assert plain[2] == 12  # once per block
    moved = (flux.sample(flux.model(), steps=STEPS) - plain[0]).norm() / plain[0].norm()
    assert 0.01 < moved < 1


@pytest.mark.parametrize("name", POLICIES)
def test_it_acts_on_computed_steps_and_only_on_the_probe_of_skipped_ones(flux, curve, plain, name):
    config, runs = loosened(flux.core, name, curve), []
    probe = flux.core.policies.POLICIES[name].probes * config.probe_depth
    model, override = sparse(flux.model())
    model = flux.comfy.pack.model_patchers.attach(model, config, runs=runs)
    latent = flux.sample(model, steps=STEPS)
    computed, skipped = runs[0].computed, runs[0].reused
    if runs[0].shares is not None:
        assert computed < STEPS
        assert override.calls == round(sum(runs[0].shares) * plain[2])
    else:
        assert skipped > 0 or name in NEVER_AT_THIS_SIZE
        assert computed + skipped == STEPS
        assert override.calls == computed * plain[2] + skipped * probe
    assert torch.isfinite(latent).all()
    assert model.model_options["transformer_options"][OVERRIDE] is override


def test_threshold_0_is_sparse_attention_alone(flux, plain):
    for name in ("dicache", "forecast"):  # any policy's threshold of 0 ends the rule before it looks at anything
        policy = flux.core.policies.chosen_policy(name, threshold=0.0)
        model, _ = sparse(flux.model())
        model = flux.comfy.pack.model_patchers.attach(model, flux.core.resolve("flux", policy=policy))
        assert torch.equal(flux.sample(model, steps=OFF_STEPS), plain[1]), name


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("flux", "dicache"), ("flux", "fbcache"), ("hunyuan_video", "dicache"), ("wan", "forecast")],
)
def test_on_every_model_the_cache_costs_what_it_costs_without(comfy, architecture, name):
    passes, moved = Passes(comfy, architecture), []
    config = loosened(passes.core, name, None, architecture)
    latent = passes.latent(batch=6)  # of one picture it is luck
    for prepared in (passes.model(), sparse(passes.model())[0]):
        uncached = passes.sample(prepared, latent=latent, steps=STEPS, cfg=2.0)
        cached = passes.sample(comfy.pack.model_patchers.attach(prepared, config), latent=latent, steps=STEPS, cfg=2.0)
        assert not torch.equal(cached, uncached)
        moved.append(float((cached - uncached).norm() / uncached.norm()))
    assert moved[1] <= 1.5 * moved[0] + 0.02
