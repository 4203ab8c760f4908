"""DiCache Compare: end to end with the testbed's Flux, and its numbers against an independent library."""

import json
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from demo_graph import CAPTION, LATENT, LOADER, NEGATIVE, SAMPLER, demo_graph
from skimage.metrics import peak_signal_noise_ratio
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

COMPARE = "9"


@pytest.fixture
def compare(comfy, pack, load_model):
    """``compare(settings, ...)``: the node's whole answer."""
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheCompare"]

    def run(settings, *, architecture="flux", model=None, **inputs):
        given = {
            "model": model or load_model(architecture),
            "positive": testbed.conditioning(architecture, CAPTIONS[0]),
            "negative": testbed.conditioning(architecture, ""),
            "latent_image": {"samples": testbed.empty_latent(architecture, 1, 16)},
            "settings": settings,
            **dict(seed=3, steps=8, cfg=1.0, sampler_name="euler", scheduler="simple", denoise=1.0),
            **inputs,
        }
        return cls.PREPARE_CLASS_CLONE(None).execute(**given)

    return run


@pytest.fixture
def vae(load_model):
    """The testbed's linear code in the shape of a VAE."""
    latent_format = load_model("flux").get_model_object("latent_format")
    std = testbed.channel_std(testbed.weights("flux"))
    return SimpleNamespace(decode=lambda samples: testbed.pictures(samples, latent_format, std))


def test_baseline_comes_first_and_equals_the_plain_sampler(compare, sample, load_model):
    latents, _, report, _ = compare("0, published").result
    plain = sample(load_model("flux"), CAPTIONS[0], steps=8, seed=3, size=16)
    assert latents["samples"].shape == (3, 16, 16, 16)
    assert torch.equal(latents["samples"][:1], plain)
    assert torch.equal(latents["samples"][1:2], plain), "threshold 0 changes nothing"
    assert not torch.equal(latents["samples"][2:], plain)
    baseline, zero, published = json.loads(report)
    assert [row["label"] for row in (baseline, zero, published)] == [
        "without DiCache",
        "threshold 0",
        "published (0.4)",
    ]
    assert zero["identical"]
    assert baseline["computed"] == zero["computed"] == 8 > published["computed"]
    assert published["runs"][0]["cells"].count("r") == 8 - published["computed"]
    assert published["speedup"] == pytest.approx(baseline["seconds"] / published["seconds"])


def test_psnr_agrees_with_scikit_image(compare):
    latents, _, report, _ = compare("0.5").result
    plain, cached = latents["samples"].numpy()
    expected = peak_signal_noise_ratio(plain, cached, data_range=plain.max() - plain.min())
    row = json.loads(report)[1]
    assert row["psnr"] == pytest.approx(expected, abs=1e-3)
    assert 0 < row["ssim"] < 1


def test_stricter_thresholds_stay_closer(compare):
    rows = json.loads(compare("0.15, 0.8", steps=16).result[2])
    assert rows[1]["computed"] > rows[2]["computed"]
    assert rows[1]["psnr"] > rows[2]["psnr"]
    assert rows[1]["ssim"] > rows[2]["ssim"]


def test_pictures_are_side_by_side_with_a_vae(compare, vae):
    answer = compare("0, 0.5", vae=vae)
    latents, sheet, report, images = answer.result
    plain = vae.decode(latents["samples"][:1])[0]
    height, width, _ = plain.shape
    pixels = (sheet[0] * 255).round()
    top = next(y for y in range(sheet.shape[1]) if torch.allclose(pixels[y, 8 : 8 + width], plain[0] * 255, atol=1.0))
    assert torch.allclose(pixels[top : top + height, 8 : 8 + width], plain * 255, atol=1.0)
    below = sheet[0, -8 - height :, :, :]
    same, different = below[:, 16 + width : 16 + 2 * width], below[:, 24 + 2 * width : 24 + 3 * width]
    assert different.mean() > same.mean(), "threshold 0 has a difference"
    assert json.loads(report)[1]["identical"]
    assert "images" in answer.ui["text"][0]
    assert len(answer.ui["images"]) == 1
    assert torch.equal(images, vae.decode(latents["samples"]))
    table = pixels[sheet.shape[1] - height :, 8 : 8 + width]
    assert (table.mean(-1) > 100).float().mean() > 0.005, "there is writing in the cell below the baseline"


def test_a_video_is_one_sheet(compare, load_model):
    latent_format = load_model("wan").get_model_object("latent_format")
    std = testbed.channel_std(testbed.weights("wan"))
    vae = SimpleNamespace(decode=lambda samples: testbed.pictures(samples, latent_format, std))
    latent = {"samples": testbed.empty_latent("wan", 1, 8, 3)}
    answer = compare("0.4", architecture="wan", latent_image=latent, cfg=3.0, vae=vae)
    _, sheet, _, images = answer.result
    assert len(sheet) == 1
    assert len(images) > 2, "every frame of both"
    assert sheet.shape[2] >= 2 * 2 * images.shape[2], "two frames side by side for each of two runs"


@pytest.mark.parametrize("given", ["guider", "sampler", "sigmas"])
def test_custom_sampling_is_what_the_widgets_say(comfy, compare, load_model, given):
    """Each part alone, made as the widgets would make it: nothing changes."""
    plain = json.loads(compare("0.4").result[2])
    custom, samplers = comfy.module("comfy_extras.nodes_custom_sampler"), comfy.module("comfy.samplers")
    positive, negative = (testbed.conditioning("flux", caption) for caption in (CAPTIONS[0], ""))
    part = {
        "guider": lambda: custom.CFGGuider.execute(load_model("flux"), positive, negative, 1.0).result[0],
        "sampler": lambda: samplers.sampler_object("euler"),
        "sigmas": lambda: custom.BasicScheduler.execute(load_model("flux"), "simple", 8, 1.0).result[0],
    }[given]()
    without = {"guider": {"positive": None, "negative": None}, "sampler": {}, "sigmas": {"steps": 3}}[given]
    rows = json.loads(compare("0.4", **{given: part}, **without).result[2])
    assert [row["psnr"] for row in rows] == pytest.approx([row["psnr"] for row in plain])
    assert rows[1]["steps"] == 8


@pytest.fixture
def drawn(pack, monkeypatch):
    """Every line that is written into a picture."""
    written, draw = [], sys.modules[f"{pack.dicache_nodes.rendering.__name__}.compare"].ImageDraw.ImageDraw
    text = draw.text
    monkeypatch.setattr(draw, "text", lambda self, at, line, *more: written.append(line) or text(self, at, line, *more))
    return written


def test_a_sampler_of_two_evaluations_a_step_is_told_by_evaluations(compare, drawn):
    answer = compare("fast", sampler_name="heun", steps=12)
    baseline, row = json.loads(answer.result[2])
    assert (baseline["computed"], baseline["evaluations"], baseline["steps"]) == (23, 23, 12)
    assert row["computed"] == sum(run["computed"] for run in row["runs"]) < row["evaluations"] == 23
    first, second, _ = answer.ui["text"][0].splitlines()
    assert first.endswith("23 of 23 evaluations computed")
    assert f"{row['computed']} of 23 evaluations computed" in second
    assert any("23/23 evaluations" in line for line in drawn)
    assert not any(" steps" in line for line in drawn)


def test_two_experts_share_the_schedule(compare, load_model):
    """A second model that is the first again: the baseline is unchanged, and both have a cache of their own."""
    alone = compare("0.4").result[0]["samples"][:1]
    answer = compare("0.4", low_noise_model=load_model("flux"), switch_at=3)
    torch.testing.assert_close(answer.result[0]["samples"][:1], alone, rtol=0, atol=1e-4)
    row = json.loads(answer.result[2])[1]
    assert [run["steps"] for run in row["runs"]] == [3, 5]
    assert row["computed"] == sum(run["computed"] for run in row["runs"]) < row["steps"] == 8


def test_neither_conditioning_nor_guider_is_said(compare):
    with pytest.raises(ValueError, match="or a guider"):
        compare("0.4", positive=None)


def test_without_a_vae_the_pictures_output_says_why(compare):
    answer = compare("0.5", steps=3)
    assert "Connect a VAE" in answer.result[1].message
    assert "Connect a VAE" in answer.result[3].message
    assert "latents" in answer.ui["text"][0]
    assert len(answer.ui["images"]) == 1, "the table"


def test_a_video_is_compared_frame_by_frame(compare):
    latent = {"samples": testbed.empty_latent("wan", 1, 4, 3)}
    latents, _, report, _ = compare("0.4", architecture="wan", latent_image=latent, cfg=3.0).result
    assert latents["samples"].ndim == 5
    assert json.loads(report)[1]["ssim"] < 1


def test_a_cache_that_the_model_already_has_is_left_out(comfy, compare, load_model):
    cached, log = comfy.node("DiCacheApply", model=load_model("flux"), threshold=9.0, warmup_steps=1)
    with_it, without = (compare("0", model=model).result[0]["samples"] for model in (cached, load_model("flux")))
    assert torch.equal(with_it, without)
    assert log.runs == []
    assert log.overridden


def test_what_comes_before_the_first_run_is_not_timed(comfy, pack, compare, monkeypatch):
    """By a clock that only the sampler moves on: by 100 s at its first call, which pays for loading, then by 2 s."""
    sampler = comfy.module("comfy.samplers").KSAMPLER
    original, calls, now = sampler.sample, [], [0.0]

    def slow_at_first(self, *args, **kwargs):
        calls.append(len(args[1]) - 1)
        now[0] += 100.0 if len(calls) == 1 else 2.0
        return original(self, *args, **kwargs)

    monkeypatch.setattr(sampler, "sample", slow_at_first)
    module = sys.modules[pack.model_patchers.compare.__module__]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    rows = json.loads(compare("0", steps=3).result[2])
    assert calls == [1, 3, 3]
    assert [row["seconds"] for row in rows] == [2.0, 2.0]


def compare_graph(**inputs):
    graph = demo_graph(CAPTIONS[0])
    sampler = graph[SAMPLER]["inputs"] | {"model": [LOADER, 0], "settings": "published, 0.2", **inputs}
    nodes = {key: graph[key] for key in (LOADER, CAPTION, NEGATIVE, LATENT)}
    return {**nodes, COMPARE: {"class_type": "DiCacheCompare", "inputs": sampler}}


def test_progress_covers_the_whole_comparison(server):
    run = server.run(compare_graph(steps=6))
    assert run.error is None
    marks = [event["value"] for event in run.data("progress") if event["node"] == COMPARE]
    assert marks == sorted(marks)
    assert marks[-1] == 18
    assert {event["max"] for event in run.data("progress")} == {18}
    assert run.data("dicache.step") == [], "there is no strip to show these runs"
    assert len(run.outputs[COMPARE]["text"][0].splitlines()) == 4


def test_interrupt_ends_the_comparison_at_once(server):
    stopped_at = []

    def stop(event):
        if event.type == "progress" and not stopped_at:
            stopped_at.append(time.perf_counter())
            server.interrupt()

    run = server.run(compare_graph(steps=200), stop)
    assert run.data("execution_interrupted"), "the comparison was not interrupted"
    assert run.events[-1].time - stopped_at[0] < 5.0
    assert server.run(compare_graph(steps=2)).error is None


def spoiled(pack, monkeypatch):
    """Every skipped step of the paper's method comes out as NaN."""
    (predictor,) = {pack.dicache_core.methods.predictors.predictor_class("trajectory")}
    monkeypatch.setattr(predictor, "forecast", lambda self, out: out.fill_(torch.nan))


def test_a_setting_that_fails_is_named_and_the_others_are_compared(pack, compare, vae, monkeypatch):
    spoiled(pack, monkeypatch)
    answer = compare("0, 0.5, fidelity", vae=vae)
    latents, sheet, report, images = answer.result
    baseline, zero, failed, fidelity = json.loads(report)
    assert failed["psnr"] is failed["ssim"] is None
    assert "NaN" in failed["failed"]
    assert not failed["identical"]
    assert [row["failed"] for row in (baseline, zero, fidelity)] == [None] * 3
    assert zero["identical"]
    lines = answer.ui["text"][0].splitlines()
    assert [("failed" in line) for line in lines] == [False, False, True, False, False]
    assert lines[2].startswith("threshold 0.5:")
    assert sheet.isfinite().all()
    assert len(images) == 4
    assert not latents["samples"][2].isfinite().any()
    assert latents["samples"][[0, 1, 3]].isfinite().all()


def test_a_model_that_fails_without_dicache_has_nothing_to_compare_with(compare, load_model):
    model = load_model("flux")
    model.set_model_patch_replace(
        lambda args, extra: {**extra["original_block"](args), "img": args["img"] * torch.nan}, "dit", "double_block", 2
    )
    answer = compare("0", model=model)
    rows = json.loads(answer.result[2])
    assert [row["psnr"] for row in rows] == [None, None]
    assert all("failed" in line for line in answer.ui["text"][0].splitlines()[:2])


@pytest.mark.parametrize("change", [0.0, 1e-30])
def test_a_difference_too_small_to_measure_is_none(pack, change):
    plain = torch.zeros(1, 16, 16, 3)
    other = plain + change
    outcomes = [pack.dicache_core.Outcome(label, samples, 1.0) for label, samples in (("a", plain), ("b", other))]
    rows = pack.dicache_nodes.rendering.compare_rows(outcomes, [plain, other], steps=4)
    assert rows[1].psnr is None
    assert "no difference" in pack.dicache_nodes.rendering.compare_text(rows, "latents")


def test_a_step_of_which_some_blocks_ran_counts_as_their_share(compare):
    """Beside whole steps the speed of a method that skips parts is told by what it computed."""
    answer = compare("h2cache, fbcache", steps=20)
    _, parts, whole = json.loads(answer.result[2])
    (run,) = parts["runs"]
    assert run["computed"] < parts["computed"] < 20
    assert parts["computed"] == pytest.approx(sum(run["shares"]), abs=0.05)
    assert whole["computed"] == whole["runs"][0]["computed"]
    assert f"{parts['computed']:g} of 20 steps computed" in answer.ui["text"][0]
