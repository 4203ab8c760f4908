"""Families in the host's real sampler, with a stack policy and an output policy each: toy width, random weights."""

import functools
import json
from dataclasses import replace

import pytest
import sampled
import torch
from cached import counted
from host_network import noise, text
from passes import COMPOSED, SIZES, assert_close
from sampled import STACKS, U_NETS, HostModel, Sampled
from testbed.conditioning import SHAPES, captions_of
from toy import Toy

STEPS = 16  # enough for the own presets to skip half
STACK, OUTPUT = "published", "balanced"  # presets: the paper's rule (DeepCache on a U-Net), and the pack's default
SAMPLED = [(spec, "simple") for spec in STACKS] + [(spec, name) for spec in U_NETS for name in ("normal", "karras")]


class Cached:
    """One family under one scheduler."""

    def __init__(self, comfy, host, scheduler):
        self.comfy, self.host, self.scheduler = comfy, host, scheduler
        self.core, self.patchers = comfy.pack.dicache_core, comfy.pack.model_patchers
        self.family = self.patchers.family_of(host.toy.model)
        self.runs = []

    @functools.cached_property
    def bare(self):
        """The latent without a cache."""
        return self.sample(self.host.model)

    @property
    def run(self):
        return self.runs[-1]

    def sample(self, model):
        return self.host.sample(model, STEPS, self.scheduler)

    def attached(self, preset, **settings):
        """The latent under a preset and the numbers typed beside it."""
        config = self.core.resolve(self.family.architecture, preset, **settings)
        return self.sample(self.patchers.attach(self.host.model, config, runs=self.runs))

    def applied(self, **widgets):
        """The latent behind DiCache Apply, its widgets at their defaults unless given."""
        model, log = self.comfy.node("DiCacheApply", model=self.host.model, **widgets)
        latent = self.sample(model)
        self.runs += log.runs
        return latent

    @property
    def outermost_and_last(self):
        """What runs on every step of a stack policy, and what a skipped step leaves out."""
        network = self.host.toy.model
        if self.family.unet:
            return [network.input_blocks[0][0], network.middle_block[0]]
        blocks = self.family.blocks(network)
        return [blocks[0].module, blocks[-1].module]

    @property
    def decisions(self):
        return [[(step.call_index, d.reuse) for step, d in sample] for sample in self.run.by_sample().values()]


@pytest.fixture(scope="module", params=SAMPLED, ids=lambda made: f"{made[0]}-{made[1]}")
def one_family(request, comfy):
    comfy.pack  # noqa: B018 - ComfyUI is started and the pack loaded before the host's modules are looked at
    spec, scheduler = request.param
    return Cached(comfy, HostModel(spec), scheduler)


@pytest.fixture
def cached(one_family, shows):
    shows("sampled", one_family.host.toy.model)
    one_family.runs.clear()
    return one_family


def test_what_computes_everything_is_the_bare_model_bit_for_bit(cached):
    assert cached.bare.isfinite().all()
    forecast = cached.core.policies.POLICIES["forecast"]
    for preset, settings in (
        (STACK, {"threshold": 0.0}),
        (STACK, {"threshold": COMPOSED}),
        (OUTPUT, {"policy": forecast, "threshold": 0.0}),
        (OUTPUT, {"end_percent": 0.0}),
    ):
        assert torch.equal(cached.attached(preset, **settings), cached.bare)
        assert cached.run.computed == STEPS


def on_top(run) -> int:
    """Steps that a veto added: one at the second step comes before the first audit and takes the place of another."""
    return run.vetoed - any(passed.decisions[0].reason == "forecasts off" for passed in run.passes[1:2])


def test_default_widgets_skip_up_to_half_and_the_strip_says_so(cached):
    """Weights are random here: some of these models jump from step to step, and veto skips."""
    with counted(cached.outermost_and_last) as calls:
        latent = cached.applied()
    assert latent.isfinite().all()
    computed, vetoed = cached.run.computed, cached.run.vetoed
    assert computed == STEPS // 2 + on_top(cached.run)
    assert calls == [computed] * 2, "skipped steps run no block"
    event = cached.core.run_json(cached.run)
    assert event["policy"] == "forecast"
    assert event["effective"]["target"] == "2x"
    assert event["cells"].count("r") == event["reused"] == STEPS - event["computed"] == STEPS - computed
    assert event["vetoed"] == vetoed
    assert event["nothing"] == (
        None if computed < STEPS else {"reason": "forecasts off", "smallest": None, "other": None}
    )
    assert event["architecture"] == cached.family.architecture
    assert event["finished"]


def test_a_count_skips_half_whatever_the_model(cached):
    policy = replace(cached.core.policies.POLICIES["forecast"], target=str(STEPS // 2))
    with counted(cached.outermost_and_last) as calls:
        latent = cached.attached(OUTPUT, policy=policy)
    assert latent.isfinite().all()
    assert not torch.equal(latent, cached.bare)
    assert calls == [STEPS // 2] * 2, "skipped steps run no block"
    latents = [cached.host.toy.x] if isinstance(cached.host.toy.x, torch.Tensor) else cached.host.toy.x
    assert cached.run.schedule.values == max(part[0].numel() for part in latents), "each modality by itself"


def test_papers_rule_skips_the_blocks_behind_the_probe(cached):
    with counted(cached.outermost_and_last) as calls:
        latent = cached.applied(preset=STACK)
    assert latent.isfinite().all()
    assert not torch.equal(latent, cached.bare)
    assert cached.run.reused >= STEPS // 2 - 1
    assert calls == [STEPS, cached.run.computed]
    event = cached.core.run_json(cached.run)
    assert event["policy"] == ("deepcache" if cached.family.unet else "dicache")
    if not cached.family.unet:
        assert event["effective"]["target"] == "2x", "nothing was published for it"
        assert "its rule is used, at 2x" in cached.core.presets.published_note(cached.family.architecture)


@pytest.mark.parametrize("preset", [STACK, OUTPUT])
def test_cond_and_uncond_in_one_batch_or_apart(cached, batching, preset):
    latents, decisions = [], []
    for fits in (True, False):
        batching(lambda fits=fits: fits)
        latents.append(cached.attached(preset))
        decisions.append(sorted(cached.decisions))
        assert {len(passed.keys) for passed in cached.run.passes} == {2 if fits else 1}
        assert cached.run.reused > 0
    assert decisions[0] == decisions[1]
    assert_close(latents[1], latents[0], 1e-4)


@pytest.mark.parametrize("preset", [STACK, OUTPUT])
def test_a_skipped_step_of_an_unchanging_model_is_the_computed_one(cached, preset):
    if preset == OUTPUT and not cached.host.spec.constant:
        pytest.skip("its direction changes with the noise although its output does not")
    with cached.host.standing_still():
        expected = cached.sample(cached.host.model)
        assert_close(cached.attached(preset), expected, 2e-5)
    assert cached.run.reused >= STEPS // 2 - 1


# ---------------------------------------------------------------- trained models, the other nodes, an unknown class


@pytest.mark.parametrize("architecture", SHAPES)
def test_default_widgets_on_the_trained_models(comfy, pack, shows, architecture):
    model, log = comfy.node("DiCacheApply", model=comfy.load_model(architecture))
    shows("trained", model.model.diffusion_model)
    cfg, size = SHAPES[architecture].cfg, {"size": 8} | SIZES.get(architecture, {})
    with torch.inference_mode():
        caption = captions_of(architecture)[0]
        latent = comfy.sample(model, caption, architecture=architecture, steps=STEPS, cfg=cfg, **size)
    assert latent.isfinite().all()
    (run,) = log.runs
    assert run.computed == STEPS // 2 + on_top(run)
    assert run.reused >= STEPS // 2 - 2, "so far from a full schedule, a skip or two are vetoed"


SOME = [spec for spec in [*STACKS, *U_NETS] if str(spec) in ("z_image", "ltx_2", "sdxl")]


@pytest.fixture(params=SOME, ids=str)
def one_of_some(request, comfy, pack):
    return Cached(comfy, HostModel(request.param), "simple")


@pytest.mark.parametrize("preset", [STACK, OUTPUT])
def test_every_sampler_outside_inference_mode(comfy, pack, preset):
    """Some of them run the model with gradients on, and a network that a script has loaded may have weights that want
    them: what the cache keeps is no part of that graph."""
    host = HostModel(next(spec for spec in U_NETS if str(spec) == "sdxl"))
    host.base.diffusion_model.requires_grad_(True)
    sample, samplers = comfy.module("comfy.sample"), comfy.module("comfy.samplers").SAMPLER_NAMES
    config = replace(pack.dicache_core.resolve("unet", preset), target="2", warmup_steps=1)
    runs = []
    for name in samplers:
        latent = host.latent
        out = sample.sample(
            pack.model_patchers.attach(host.model, config, runs=runs), sample.prepare_noise(latent, 0), 4, 1.0, name,
            "normal", host.cond(0), host.cond(1), latent, disable_pbar=True, seed=0,
        )  # fmt: skip
        assert out.isfinite().all(), name
    assert sum(run.reused > 0 for run in runs) > len(samplers) / 3


def test_report_and_policy(one_of_some, comfy):
    (policy,) = comfy.node("DiCachePolicy", policy="taylorseer_1", target="2x")
    model, log = comfy.node("DiCacheApply", model=one_of_some.host.model, policy=policy)
    latent = one_of_some.sample(model)
    assert latent.isfinite().all()
    _, report = comfy.node("DiCacheReport", after=latent, statistics=log)
    (run,) = json.loads(report)["runs"]
    assert run["architecture"] == one_of_some.family.architecture
    assert run["settings"]["predictor"] == "taylor1"
    assert (run["computed"], run["reused"]) == (STEPS // 2, STEPS // 2)


def test_compare(one_of_some, comfy):
    host = one_of_some.host
    latent, _, report, _ = comfy.node(
        "DiCacheCompare", model=host.model, positive=host.cond(0), negative=host.cond(1), seed=0, steps=STEPS, cfg=1.5,
        latent_image={"samples": host.latent}, settings="published, balanced",
    )  # fmt: skip
    plain, papers, own = json.loads(report)
    assert latent["samples"].shape[0] == 3
    assert latent["samples"].isfinite().all()
    assert plain["computed"] == STEPS
    assert papers["computed"] < STEPS
    assert STEPS // 2 <= own["computed"] <= STEPS, "up to 2x: the weights are random"
    assert own["psnr"] > 0


class Unheard(torch.nn.Module):
    """A network of a class that no table has."""

    def __init__(self):
        super().__init__()
        self.dtype, self.mix = torch.float32, torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x, timestep, context, control=None, transformer_options=None, **more):
        return self.mix(x) + timestep.reshape(-1, 1, 1, 1) / 1000 + context.mean()


def unheard() -> Toy:
    torch.manual_seed(0)
    return Toy(Unheard().requires_grad_(False), noise(2, 4, 8, 8), dict(context=text(12)))


@pytest.mark.parametrize(
    "spec", [Sampled("SD15", unheard), Sampled("Stable_Cascade_C", sampled.cascade, sampled.pooled)], ids=str
)
def test_a_class_of_no_family(comfy, pack, spec):
    """Own presets run; the paper's rule says on the node, in one line, what to choose instead."""
    host = HostModel(spec)
    for preset, computed in (("fidelity", 11), ("balanced", 8), ("fast", 8)):  # at least eight
        model, log = comfy.node("DiCacheApply", model=host.model, preset=preset)
        latent = host.sample(model, STEPS)
        assert log.runs[-1].computed == computed + on_top(log.runs[-1])
        assert latent.isfinite().all()
    with pytest.raises(ValueError, match="choose the preset fidelity, balanced or fast") as error:
        comfy.node("DiCacheApply", model=host.model, preset=STACK)
    assert type(host.toy.model).__name__ in str(error.value)
    assert "\n" not in str(error.value)
