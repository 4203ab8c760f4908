"""Own presets and speed targets under every sampler and scheduler of the host: pictures, and computed calls."""

import itertools
import sys

import pytest
import torch
from passes import ARCHITECTURES, Passes

pytestmark = pytest.mark.one_host

STEPS = 20
SIZES = {"flux": {"size": 16}, "hunyuan_video": {"size": 8, "frames": 2}, "wan": {"size": 8, "frames": 2}}
SMALL = {"size": 8}  # where nobody looks at the picture
LOOKED_AT = {"size": 12}  # 9/16 of the usual tokens, as every sampler without noise is run twice
CAPTIONS = (0, 3, 5, 8)  # one stands for little: another scene has another texture
GRAIN = 0.15  # how far the total variation of cached pictures may be from the plain ones'
ADAPTIVE = {"dpm_adaptive"}  # chooses its calls by what it sees: everything is computed
ON_THE_GPU = "_gpu"  # the same sampler, its noise drawn elsewhere


@pytest.fixture(scope="module", params=ARCHITECTURES)
def passes(request, comfy):
    return Passes(comfy, request.param)


@pytest.fixture
def architecture(request, comfy):
    """One of the models, where not all are wanted."""
    return Passes(comfy, request.param)


def sample(passes, model, sampler, scheduler="simple", steps=STEPS, captions=None, **size):
    """Pictures of some captions in one batch."""
    texts = [passes.text(text) for text in _texts()[:captions]]
    extras = {
        k: torch.cat([t[0][1][k] for t in texts]) if k == "pooled_output" else v for k, v in texts[0][0][1].items()
    }
    positive = [[torch.cat([t[0][0] for t in texts]), extras]]
    latent = passes.latent(batch=len(texts), **(SIZES[passes.architecture] | size))
    cfg = 3.0 if passes.architecture == "wan" else 1.0
    samples = passes.sample(model, positive, latent=latent, steps=steps, cfg=cfg, sampler=sampler, scheduler=scheduler)
    return passes.comfy.pictures(samples, passes.architecture).clamp(0, 1)


def _texts():
    from testbed.captions import CAPTIONS as ALL

    return [ALL[i] for i in CAPTIONS]


def preset(passes, name):
    config = passes.core.resolve(passes.architecture, name)
    return passes.comfy.pack.model_patchers.attach(passes.model(), config, runs=passes.runs)


def total_variation(pictures):
    """Mean step from pixel to pixel, ``(N, H, W, 3)``: grain makes it larger."""
    down, right = pictures.diff(dim=1).abs().mean(), pictures.diff(dim=2).abs().mean()
    return (down + right).item() / 2


def samplers(passes):
    names = passes.comfy.module("comfy.samplers").SAMPLER_NAMES
    return [name for name in names if not name.endswith(ON_THE_GPU)]


def is_noisy(passes, name):
    module = sys.modules[f"{passes.comfy.pack.__name__}.model_patchers.sampler_probe"]
    host = passes.comfy.module("comfy.samplers")
    guider = host.CFGGuider(passes.model())
    sigmas = host.calculate_sigmas(guider.model_patcher.get_model_object("model_sampling"), "simple", STEPS)
    return module.probe_sampler(host.sampler_object(name), sigmas, guider).kind.value == "stochastic"


def late(run) -> bool:
    """Whether nothing was skipped in the first quarter."""
    samples = run.by_sample().values()
    return all(step.progress >= 1 / 4 for step, d in itertools.chain(*samples) if d.reuse)


def test_own_presets_skip_late_steps_alone_under_samplers_that_add_noise(passes):
    """Those of the kind cfg_pp start each step from the picture anew: they are computed in full, as is any other that
    was not asked what its calls weigh."""
    if passes.architecture != "flux":
        pytest.skip("what is skipped where depends on the sampler: one model suffices")
    noisy = [name for name in samplers(passes) if is_noisy(passes, name)]
    assert len(noisy) > 10
    for name in noisy:
        own = sample(passes, preset(passes, "balanced"), name, steps=STEPS // 2, captions=1, **SMALL)
        assert own.isfinite().all(), name
        assert late(passes.run), name
        if name.endswith("_cfg_pp"):
            assert computed_share(passes.run) == 1, name
            assert passes.core.explain.why_nothing(passes.run).reason == "new noise", name


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m_sde", "er_sde"])
def test_fidelity_keeps_image_and_grain_under_a_sampler_that_adds_noise(passes, name):
    """No image below 26 dB, total variation within 8%, and something is skipped."""
    if passes.architecture != "flux":
        pytest.skip("the bench looks at the others")
    plain = sample(passes, passes.model(), name, steps=30, **LOOKED_AT)
    own = sample(passes, preset(passes, "fidelity"), name, steps=30, **LOOKED_AT)
    assert computed_share(passes.run) < 1
    assert late(passes.run)
    psnr = -10 * (own - plain).square().flatten(1).mean(1).log10()
    assert psnr.min() > 26
    assert abs(total_variation(own) / total_variation(plain) - 1) < 0.08


def test_a_few_steps_of_lcm_are_computed(passes):
    """Each image starts anew from the model's output there: no audit earns a skip."""
    if passes.architecture != "flux":
        pytest.skip("one model suffices")
    for steps in (4, 8, 12):
        sample(passes, preset(passes, "balanced"), "lcm", steps=steps, captions=1, **SMALL)
        assert computed_share(passes.run) == 1, steps


def computed_share(run) -> float:
    decisions = [d for sample in run.by_sample().values() for _, d in sample]
    return sum(not d.reuse for d in decisions) / len(decisions)


def off_target(run, target=0.5) -> float:
    """Computed calls too many or too few, in calls of one sample."""
    samples = list(run.by_sample().values())
    calls = sum(map(len, samples)) / max(1, len({key.row for key in run.by_sample()}))
    return abs(computed_share(run) - target) * calls


def test_every_sampler_meets_a_target(passes):
    """The paper's rule steered to 2x computes half of the calls, within one in each stream."""
    if passes.architecture != "flux":
        pytest.skip("what is counted are calls: one model suffices")
    names = passes.comfy.module("comfy.samplers")
    wrong = {}
    for name, scheduler in [*((n, "simple") for n in samplers(passes)), *(("euler", s) for s in names.SCHEDULER_NAMES)]:
        sample(passes, passes.cached(threshold=1.0, target="2x"), name, scheduler, captions=1, **SMALL)
        streams = len({key.stream for key in passes.run.by_sample()})
        if name not in ADAPTIVE and off_target(passes.run) > streams:
            wrong[name, scheduler] = computed_share(passes.run)
    assert not wrong


def test_own_presets_give_pictures_under_every_sampler(passes):
    """Where no noise is added, about half of the calls are computed and the picture is the plain one to the eye."""
    if passes.architecture != "flux":
        pytest.skip("one model suffices where no noise is drawn")
    far = {}
    for name in samplers(passes):
        if name in ADAPTIVE or is_noisy(passes, name):
            continue
        cached = sample(passes, preset(passes, "balanced"), name, **LOOKED_AT)
        if name.endswith("_cfg_pp"):  # each step starts from the picture anew: forecasts ruin it, so none is made
            assert computed_share(passes.run) == 1
            continue
        plain = sample(passes, passes.model(), name, **LOOKED_AT)
        assert 0.4 <= computed_share(passes.run) <= 0.7, name  # half, and what the veto adds
        psnr = -10 * (cached - plain).square().mean().log10().item()
        if psnr < 20 or abs(total_variation(cached) / total_variation(plain) - 1) > GRAIN:
            far[name] = psnr
    assert not far


@pytest.mark.parametrize(
    ("architecture", "scheduler", "least"),
    [("flux", "linear_quadratic", 30), ("wan", "beta", 32)],
    indirect=["architecture"],
)
def test_corrections_weigh_calls_as_uni_pc_does(architecture, scheduler, least):
    """A call's own dsigma for its weight gives 18 and 33 dB here, the sampler's own weights 39 and 39 (8 captions)."""
    plain = sample(architecture, architecture.model(), "uni_pc", scheduler, 30)
    cached = sample(architecture, preset(architecture, "balanced"), "uni_pc", scheduler, 30)
    samples = architecture.run.by_sample().values()
    computed = max(sum(not d.reuse for _, d in sample) for sample in samples)  # the sample whose audits ask for most
    fewer = sample(architecture, architecture.model(), "uni_pc", scheduler, computed)

    def psnr(pictures):
        each = (pictures - plain).square().reshape(len(CAPTIONS), -1).mean(1)
        return -10 * each.log10().mean().item()

    assert 15 <= computed <= 20
    assert psnr(cached) > max(least, psnr(fewer) + 4)


@pytest.mark.parametrize("switch", [0.3, 0.5])
def test_a_cond_that_a_timestep_range_switches_keeps_the_speed(passes, switch):
    """Two conds, one for each part of the run, compute about half of its steps together."""
    first, second = passes.text(_texts()[0]), passes.text(_texts()[1])
    ranges = [*_in_range(first, 0.0, switch), *_in_range(second, switch, 1.0)]
    for name in ("balanced", "published"):
        model = preset(passes, name) if name == "balanced" else passes.cached(threshold=1.0, target="2x")
        passes.sample(model, ranges, latent=passes.latent(**SIZES[passes.architecture]), steps=STEPS)
        computed = sum(not d.reuse for _, d in itertools.chain(*passes.run.by_sample().values()))
        assert abs(computed - STEPS / 2 - passes.run.vetoed) <= 2, (name, passes.run.cells)


def _in_range(cond, start, end):
    return [[c, {**extras, "start_percent": start, "end_percent": end}] for c, extras in cond]
