"""ControlNets and patches that act on a part of the run: where one comes or goes, nothing from before is used."""

import pytest
import torch
from passes import COMPOSED, STEPS, Passes, streams

ACTS = (0.35, 0.75)  # start and end percent of what comes and goes


@pytest.fixture
def passes(comfy, pack):
    return Passes(comfy, "flux")


def toy_control(passes, strength=0.5, frames=None):
    """A control with a tensor for each block inside of its range; ``frames`` maps percents to strengths of its own."""
    network = passes.model().model.diffusion_model
    tokens = passes.latent().shape[-1] ** 2 // 4
    base = passes.comfy.module("comfy.controlnet").ControlBase

    class ToyControl(base):
        calls = 0

        def get_control(self, x, t, cond, batched_number, transformer_options):
            before = self.previous_controlnet and self.previous_controlnet.get_control(
                x, t, cond, batched_number, transformer_options
            )
            if self.timestep_range is not None and not self.timestep_range[1] <= t[0] <= self.timestep_range[0]:
                return before
            generator = torch.Generator().manual_seed(5)
            noise = [
                strength * self.strength * torch.randn(len(x), tokens, network.hidden_size, generator=generator)
                for _ in (*network.double_blocks, *network.single_blocks)
            ]
            doubles = len(network.double_blocks)
            return {"input": noise[:doubles], "output": noise[doubles:]}

        def copy(self):
            other = ToyControl()
            self.copy_to(other)
            return other

        def cleanup(self):
            pass

    return ToyControl()


def controlled(passes, *ranges):
    """The caption with a chain of controls, one for each (start, end) percent."""
    apply = passes.comfy.nodes.ControlNetApplyAdvanced()
    positive, negative = passes.text(), passes.text("")
    for start, end in ranges:
        hint = torch.zeros(1, 64, 64, 3)
        positive, negative = apply.apply_controlnet(positive, negative, toy_control(passes), hint, 1.0, start, end)
    return positive


def changes(passes, *ranges):
    """Steps at which the host finds other controls in force than at the step before; worked out from its own sigmas."""
    sampling = passes.model().get_model_object("model_sampling")
    samplers = passes.comfy.module("comfy.samplers")
    sigmas = samplers.calculate_sigmas(sampling, "simple", STEPS).tolist()[:-1]
    spans = [(sampling.percent_to_sigma(start), sampling.percent_to_sigma(end)) for start, end in ranges]
    acting = [tuple(end <= sigma <= start for start, end in spans) for sigma in sigmas]
    return [step for step in range(1, STEPS) if acting[step] != acting[step - 1]]


def assert_computed_afresh(passes, steps):
    assert steps
    assert set(steps) <= set(range(2, STEPS - 1)), f"steps that are computed anyway: {steps}"
    reasons = {p.step.step_index: p.decisions[0].reason for p in passes.run.passes}
    assert [reasons[step] for step in steps] == ["no anchor yet"] * len(steps), passes.run.cells
    assert passes.run.reused > 0, "nothing was reused between the changes"


@pytest.mark.parametrize("ranges", [[ACTS], [(0.0, ACTS[1]), (ACTS[0], 1.0)]], ids=["one", "chained"])
def test_step_at_which_a_control_comes_or_goes_is_computed_afresh(passes, ranges):
    positive = controlled(passes, *ranges)
    passes.sample(passes.cached(threshold=1e9), positive)
    assert_computed_afresh(passes, changes(passes, *ranges))
    plain = passes.sample(passes.model(), positive)
    assert torch.equal(passes.sample(passes.cached(threshold=COMPOSED), positive), plain)


def test_a_control_that_is_always_there_is_one_stream(passes):
    passes.sample(passes.cached(threshold=1e9), controlled(passes, (0.0, 1.0)))
    assert passes.run.cells == "wwrrrrrrrl"
    assert len(streams(passes.run)) == 1


@pytest.mark.parametrize("attribute", ["strength", "_current_timestep_keyframe"])
def test_a_control_that_changes_in_the_run_is_another_one(passes, attribute):
    """Packs with keyframes give a control another strength, or another keyframe, before they ask it."""
    positive = controlled(passes, (0.0, 1.0))
    control = positive[0][1]["control"]
    ask, calls = control.get_control, []

    def at_keyframes(*args):
        calls.append(1)
        setattr(control, attribute, 0.2 if len(calls) > 5 else 1.0)
        return ask(*args)

    control.get_control = at_keyframes
    passes.sample(passes.cached(threshold=1e9), positive)
    assert_computed_afresh(passes, [5])


class Ranged:
    """A patch in front of the blocks that keeps a range of its own, as ComfyUI's Uni3C and AnimaLLLite do."""

    def __init__(self, sigma_start, sigma_end):
        self.sigma_start, self.sigma_end = sigma_start, sigma_end

    def __call__(self, args):
        if "transformer_options" not in args:
            pytest.skip("this ComfyUI tells a patch in front of the blocks no noise level")
        if self.sigma_end <= args["transformer_options"]["sigmas"][0].item() <= self.sigma_start:
            args = {**args, "img": args["img"] * 1.2}
        return args

    def method(self, args):
        return self(args)


def in_closure(sigma_start, sigma_end):
    def patch(args):
        return Ranged(sigma_start, sigma_end)(args)

    return patch


@pytest.mark.parametrize(
    "build", [Ranged, lambda *span: Ranged(*span).method, in_closure], ids=["object", "method", "closure"]
)
def test_step_at_which_a_patch_comes_or_goes_is_computed_afresh(passes, build):
    def patched(model):
        sampling = model.get_model_object("model_sampling")
        clone = model.clone()
        clone.set_model_post_input_patch(build(*(float(sampling.percent_to_sigma(percent)) for percent in ACTS)))
        return clone

    plain = passes.sample(patched(passes.model()))
    assert not torch.equal(plain, passes.sample(passes.model())), "the patch did nothing"
    passes.sample(patched(passes.cached(threshold=1e9)))
    assert_computed_afresh(passes, changes(passes, ACTS))


def test_a_short_control_is_felt_under_the_forecast_presets(passes):
    """Two steps of twenty: what it changes is there with the cache as without it."""
    positive, core = controlled(passes, (0.5, 0.6)), passes.core
    latents = {}
    for name, cond in (("with", positive), ("without", passes.text())):
        fast = passes.comfy.pack.model_patchers.attach(
            passes.model(), core.presets.preset_config("fast", "flux"), runs=passes.runs
        )
        latents[name] = passes.sample(passes.model(), cond, steps=20), passes.sample(fast, cond, steps=20)
    effect, cached_effect = ((latents["with"][i] - latents["without"][i]).square().mean().sqrt() for i in (0, 1))
    off = (latents["with"][1] - latents["with"][0]).square().mean().sqrt()
    assert passes.runs[0].reused > 6
    assert 0.7 < cached_effect / effect < 1.4
    assert off < 0.5 * effect


def test_skips_whose_audit_a_change_takes_away_are_in_the_estimate(passes):
    """Three calls in a row are skipped, and at the next one a control is gone: nothing is ever held against them."""
    positive = controlled(passes, (0.0, 0.5), (0.3, 0.8))
    plain = passes.sample(passes.model(), positive, steps=14)
    model = passes.comfy.pack.model_patchers.attach(
        passes.model(), passes.core.resolve("flux", "balanced"), runs=passes.runs
    )
    cached = passes.sample(model, positive, steps=14)
    assert passes.run.cells.endswith("rrrcl")
    off = (cached - plain).square().mean().sqrt() / (plain.max() - plain.min())
    assert off > 0.01, "40 dB"
    assert passes.run.closeness != "very close"
