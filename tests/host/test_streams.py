"""Which stream a call belongs to, and where it stands, when one question of the sampler's takes several calls."""

import sys
from types import SimpleNamespace

import pytest
import torch
from passes import COMPOSED, Passes, streams
from testbed import conditioning as testbed

CPU = torch.device("cpu")
HEUN = (1.0, 0.7, 0.7, 0.3, 0.3)
OWN = dict(threshold=1.0, indicator="forecast", predictor="corrected_line", target="2x", warmup_steps=1)


@pytest.fixture
def book(pack):
    """A book of a sampler that looks twice at most noise levels, and the calls that go into it."""
    identity, acting = (sys.modules[f"{pack.__name__}.model_patchers.{name}"] for name in ("streams", "acting"))
    streams = identity.StreamBook(pack.dicache_core.schedule.in_sequences(HEUN), acting.ControlBook())

    def call(sigma, *uuids, rows=1):
        now, keys = streams.keys({"uuids": uuids}, sigma, rows * len(uuids), CPU)
        return (now.sequence, now.call_index), [
            (key.stream.uuid, key.stream.sequence, key.stream.repeat) for key in keys
        ]

    return SimpleNamespace(call=call, evaluation=streams.evaluation)


def test_a_second_call_in_one_evaluation_is_not_the_samplers_next(book):
    seen = []
    for sigma in HEUN:
        with book.evaluation():
            seen.append([book.call(sigma, "pos", "neg"), book.call(sigma, "neg")])
    assert [[place for place, _ in calls] for calls in seen] == [[(0, call)] * 2 for call in range(len(HEUN))]
    for main, again in seen:
        assert main[1] == [("pos", 0, 0), ("neg", 0, 0)]
        assert again[1] == [("neg", 0, 1)]


def test_streams_of_one_batch_are_told_apart_one_by_one(book):
    """The guidance's second look may share its pass with a cond that is called for the first time."""
    with book.evaluation():
        book.call(1.0, "neg")
        assert book.call(1.0, "neg", "pos", rows=2)[1] == [("neg", 0, 1)] * 2 + [("pos", 0, 0)] * 2


def test_a_stream_that_comes_in_late_stands_where_the_sampler_does(book):
    for sigma in HEUN[:2]:
        with book.evaluation():
            book.call(sigma, "pos")
    with book.evaluation():
        book.call(0.7, "pos")
        assert book.call(0.7, "late") == ((0, 2), [("late", 0, 0)])


def test_a_call_at_another_noise_level_takes_no_place_of_the_samplers(book):
    places = []
    for sigma in HEUN:
        with book.evaluation():
            places.append(book.call(sigma, "pos")[0])
            (_, place), ((_, sequence, _),) = book.call(sigma / 2, "pos")
            assert place is None
            assert sequence > 0
    assert places == [(0, call) for call in range(len(HEUN))]


def test_calls_past_the_guider_are_sorted_by_noise_and_by_who_called_before(book):
    assert [book.call(sigma, *who)[0] for sigma in HEUN for who in (("pos",), ("neg",))] == [
        (0, call) for call in range(len(HEUN)) for _ in range(2)
    ]


@pytest.mark.parametrize("sampler", ["heun", "exp_heun_2_x0"])
def test_self_attention_guidance_under_a_sampler_that_looks_twice(comfy, sampler):
    """It calls the negative once more at the same noise, with an image of its own."""
    passes = Passes(comfy, "unet")
    guided = passes.extra("nodes_sag.SelfAttentionGuidance", passes.cached(**OWN), 0.5, 2.0)
    latent = testbed.empty_latent("unet", 1, 16)
    out = passes.sample(guided, latent=latent, steps=8, cfg=4.0, sampler=sampler, scheduler="normal")
    assert out.isfinite().all()
    assert len(streams(passes.run)) == 3
    decided = list(passes.run.by_sample().values())
    assert [[step.call_index for step, _ in sample] for sample in decided] == [list(range(len(decided[0])))] * 3
    decided = [[decision.reuse for _, decision in sample] for sample in decided]
    assert decided[0] == decided[1] == decided[2]
    assert 0 < sum(decided[0]) < len(decided[0])


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "dicache" and r.levelname == "WARNING"]


def two_models(passes, first, second: str, steps: int = 5):
    """ComfyUI's guider that asks one model for the positive cond and another one for the negative."""
    other = Passes(passes.comfy, second)
    guider = passes.extra(
        "nodes_custom_sampler.DualModelGuider", first, passes.text(), 2.0, other.model(), other.text("")
    )
    noise = passes.comfy.module("comfy.sample").prepare_noise(passes.latent(), 4)
    sampler = passes.comfy.module("comfy.samplers").sampler_object("euler")
    sigmas = passes.extra("nodes_custom_sampler.BasicScheduler", passes.model(), "simple", steps, 1.0)
    with torch.inference_mode():
        return guider.sample(noise, passes.latent(), sampler, sigmas, disable_pbar=True)


def test_a_guider_asks_a_second_network_of_another_family(comfy):
    passes = Passes(comfy, "wan")
    plain = two_models(passes, passes.model(), "hunyuan_video")
    assert torch.equal(two_models(passes, passes.cached(threshold=COMPOSED), "hunyuan_video"), plain)
    assert two_models(passes, passes.cached(threshold=1e9), "hunyuan_video").isfinite().all()
    assert [[reuse for _, reuse in sample] for sample in passes.decisions()] == [[False, False, True, True, False]] * 2


def test_a_second_network_with_too_few_blocks_is_computed_and_this_is_said(comfy, caplog):
    passes = Passes(comfy, "wan")
    deep = passes.cached(threshold=1e9, probe_depth=12)
    with caplog.at_level("WARNING", "dicache"):
        assert two_models(passes, deep, "hunyuan_video").isfinite().all()
    first, second = passes.run.by_sample().values()
    assert [decision.reuse for _, decision in first] == [False, False, True, True, False]
    assert {decision.reason for _, decision in second} == {"second model"}
    (said,) = warnings(caplog)
    assert "second model" in said
    assert "probe_depth is 12" in said


def tiled(model, count=2, shift=0, whole=False):
    """``model`` behind a node that shows it an image tile by tile, moved by ``shift`` at every call."""
    calls = 0

    def wrapper(apply_model, given):
        nonlocal calls
        calls += 1
        by = shift * calls % given["input"].shape[-1]
        tiles = [torch.roll(given["input"], by, -1)] if whole else torch.roll(given["input"], by, -1).chunk(count, -1)
        return torch.roll(torch.cat([apply_model(x, given["timestep"], **given["c"]) for x in tiles], -1), -by, -1)

    model = model.clone()
    model.set_model_unet_function_wrapper(wrapper)
    return model


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_tiles_that_stay_in_place_are_streams_of_their_own(comfy, sampler):
    passes = Passes(comfy, "flux")
    assert passes.sample(tiled(passes.cached(**OWN)), sampler=sampler).isfinite().all()
    decided = list(passes.run.by_sample().values())
    assert len(decided) == 2
    assert [step.call_index for step, _ in decided[0]] == list(range(len(decided[0])))
    decided = [[decision.reuse for _, decision in sample] for sample in decided]
    assert decided[0] == decided[1]
    assert any(decided[0])


@pytest.mark.parametrize(
    "rule",
    [OWN, dict(threshold=1.0, indicator="fixed", predictor="output_line"), dict(threshold=1e9)],
    ids=["forecast", "fixed", "published"],
)
@pytest.mark.parametrize("whole", [False, True], ids=["tiles", "whole"])
def test_an_image_that_moves_at_every_step_is_computed_and_this_is_said(comfy, caplog, rule, whole):
    passes = Passes(comfy, "flux")
    plain = passes.sample(tiled(passes.model(), shift=2, whole=whole))
    with caplog.at_level("WARNING", "dicache"):
        assert torch.equal(passes.sample(tiled(passes.cached(**rule), shift=2, whole=whole)), plain)
    assert passes.core.explain.why_nothing(passes.run).reason == "another image"
    (said,) = warnings(caplog)
    assert "the image moves between steps" in said


@pytest.mark.parametrize("sampler", ["euler", "uni_pc", "euler_ancestral", "lcm", "dpmpp_2m_sde"])
def test_whatever_a_sampler_does_to_x_goes_on(comfy, sampler):
    """Masks and batches as well: what the sampler itself sees is the measure."""
    passes = Passes(comfy, "flux")
    mask, latent = torch.zeros(1, 1, 16, 16), torch.ones(2, 16, 16, 16)
    mask[..., 4:9, 5:12] = 1
    sample, noise = passes.comfy.module("comfy.sample"), torch.randn(latent.shape)
    texts = passes.text(), passes.text("")
    with torch.inference_mode():
        sample.sample(passes.cached(**OWN), noise, 6, 2.0, sampler, "simple", *texts, latent, noise_mask=mask)
    assert "another image" not in {d.reason for passed in passes.run.passes for d in passed.decisions}
