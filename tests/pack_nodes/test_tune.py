"""DiCache Tune on the testbed's Flux: what it measures, what it chooses, what it costs, and what it remembers."""

import json
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from demo_graph import CAPTION, LATENT, LOADER, NEGATIVE, SAMPLER, demo_graph
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

TUNE = "9"
SIZE = 8  # the smallest that the checkpoint draws anything with: what is tested here is not its pictures


def prompt(number: int) -> list:
    return testbed.conditioning("flux", CAPTIONS[number])


@pytest.fixture
def empty(pack):
    """Nothing is remembered, before and after."""
    pack.model_patchers.forget_all()
    yield
    pack.model_patchers.forget_all()


@pytest.fixture
def node(comfy, pack, load_model, empty):
    """``node(...)``: the node's whole answer."""
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]

    def run(model=None, **inputs):
        given = {
            "model": model or load_model("flux"),
            "positive": prompt(0),
            "negative": testbed.conditioning("flux", ""),
            "latent_image": {"samples": testbed.empty_latent("flux", 1, SIZE)},
            **dict(seed=3, steps=30, cfg=1.0, sampler_name="euler", scheduler="simple", denoise=1.0, want="similar"),
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


def test_the_default_question_at_thirty_steps(node, vae, passes_of_the_model, comfy, pack, load_model, sample):
    """What was computed is counted at the model; the choice is remembered and then sampled with."""
    model, count = passes_of_the_model
    want = next(iter(pack.dicache_core.quality.QUALITIES))
    bounds = pack.dicache_core.quality.QUALITIES[want]
    answer = node(model, positive_2=prompt(1), vae=vae, want=want)
    policy, sheets, plot, report = answer.result
    found = json.loads(report)
    full, *tried = found["trials"]
    assert full["speed"] == 1
    assert full["computed"] == full["calls"] == 120, "two prompts, from two seeds each"
    assert len(full["pictures"]) == 4
    assert all(picture == {"psnr": 100.0, "ssim": 1.0} for picture in full["pictures"])
    # One step is sampled beforehand; skipped steps do not reach the model, or run one block of it.
    assert count() == 1 + sum(trial["computed"] for trial in found["trials"])
    assert sum(trial["computed"] for trial in found["trials"]) <= 6 * 60, "six times both prompts"
    assert found["full_runs"] == pytest.approx(sum(t["computed"] for t in found["trials"]) / 60, abs=1e-3)
    (chosen,) = [trial for trial in found["trials"] if trial["chosen"]]
    assert chosen["keeps"]
    kept = [p["psnr"] >= bounds.psnr and p["ssim"] >= bounds.ssim for p in chosen["pictures"]]
    assert len(kept) == 4
    assert sum(kept) >= 3, "one of them may fail by little"
    others = [trial for trial in tried if trial["target"] != chosen["target"]]  # a plan's speed is the method's own
    assert [t["setting"] for t in others if t["keeps"] and t["speed"] > chosen["speed"]] == []
    assert (policy.indicator, policy.target) == ("forecast", chosen["target"])
    assert sheets.ndim == plot.ndim == 4
    assert len(answer.ui["images"]) == len(sheets) + 1
    assert "settings tried" in answer.ui["text"][0]

    cached, log = comfy.node("DiCacheApply", model=load_model("flux"), preset="tuned")
    sample(cached, CAPTIONS[2], steps=30, size=SIZE)
    (run,) = log.runs
    assert run.config.target == chosen["target"]
    assert run.tuned_match.found == "fits"
    assert comfy.pack.dicache_core.run_json(run)["tuned"] == {"found": "fits", "goal": want, "steps": 30}


@pytest.fixture
def passes_of_the_model(load_model):
    """A model, and how often its last block has worked; a skipped block is only passed through."""
    model, ran = load_model("flux"), [0]
    handle = model.model.diffusion_model.single_blocks[-1].linear1.register_forward_hook(
        lambda *_: ran.__setitem__(0, ran[0] + 1)
    )
    yield model, lambda: ran[0]
    handle.remove()


def test_what_is_measured_is_what_the_nodes_give(node, comfy, load_model, sample, pack):
    """Each trial again, by DiCache Apply and the plain sampler: the prompt from its seed and from the next one."""
    report = json.loads(node(steps=10, seed=5).result[3])
    plain = {seed: sample(load_model("flux"), CAPTIONS[0], steps=10, seed=seed, size=SIZE) for seed in (5, 6)}
    for trial in report["trials"][1:]:
        (policy,) = comfy.node("DiCachePolicy", policy=trial["policy"], target=trial["target"])
        plan = pack.dicache_core.tuning.store.read_plan(trial["plan"])
        policy = policy if plan is None else replace(policy, plan=plan, warmup_steps=1)
        cached, log = comfy.node("DiCacheApply", model=load_model("flux"), policy=policy)
        for measured, seed in zip(trial["pictures"], plain, strict=False):
            samples = sample(cached, CAPTIONS[0], steps=10, seed=seed, size=SIZE)
            if torch.equal(samples, plain[seed]):
                assert measured == {"psnr": 100.0, "ssim": 1.0}
                continue
            seen = [pack.dicache_nodes.rendering.as_pictures(latent) for latent in (samples, plain[seed])]
            psnr, ssim = pack.dicache_nodes.rendering.similarity(*seen)
            assert (measured["psnr"], measured["ssim"]) == (pytest.approx(psnr), pytest.approx(ssim))
        assert sum(run.calls_computed for run in log.runs) == trial["computed"]


def test_every_sample_of_a_batch_counts_and_each_prompt_has_its_seed(node):
    latent = {"samples": testbed.empty_latent("flux", 2, SIZE)}
    report = json.loads(node(steps=10, latent_image=latent, positive_2=prompt(0)).result[3])
    assert len(report["trials"][0]["pictures"]) == 8, "two prompts, two seeds, two samples"
    whole = [t for t in report["trials"][1:] if t["keeps"] and len({p["psnr"] for p in t["pictures"]} - {100.0}) > 1]
    assert whole or all(p["psnr"] == 100 for t in report["trials"] for p in t["pictures"])


def test_plans_are_searched_and_tried(node, pack):
    """Each has as many calls as the method's own plan at the same speed, and other ones."""
    answer = node(positive_2=prompt(1))
    report = json.loads(answer.result[3])
    assert report["plan_search"]["not_searched"] is None
    assert 0 < report["plan_search"]["seconds"] < 10
    tried = [trial for trial in report["trials"] if trial["plan"]]
    assert 1 <= len(tried) <= 3
    for trial in tried:
        law = next(other for other in report["trials"] if other["setting"] == trial["target"])
        assert trial["setting"].startswith(f"{trial['target']}, ")
        assert len(trial["plan"]["shares"]) == len(law["computed_steps"])
        assert trial["computed_steps"] != law["computed_steps"]
        assert set(trial["computed_steps"]) >= {0, 29}
    assert report["full_runs"] <= 6
    (chosen,) = [trial for trial in report["trials"] if trial["chosen"]]
    (file,) = (pack.model_patchers.tuned_files._folder()).glob("flux-*.json")
    assert json.loads(file.read_text(encoding="utf-8"))["choices"][0]["plan"] == chosen["plan"]
    lines = answer.ui["text"][0].splitlines()
    assert (pack.dicache_nodes.rendering.tune.NO_BETTER_PLAN in lines) == (chosen["plan"] is None)


def test_a_search_that_finds_nothing_better_says_so_in_one_line(node, pack, monkeypatch):
    found = pack.dicache_core.tuning.plan_finder.PlanFinder
    monkeypatch.setattr(found, "find", lambda *_: [])
    answer = node(steps=9)
    *_chosen_and_cost, plans, saved = answer.ui["text"][0].splitlines()
    assert plans == "No better plan was found than the forecast method's own."
    assert saved.startswith("Saved.")
    assert json.loads(answer.result[3])["plan_search"]["not_searched"] is None


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"sampler_name": "euler_ancestral", "steps": 10}, "SAMPLER"),
        ({"sampler_name": "heun", "steps": 9}, "SAMPLER"),
        ({"steps": 8}, "STEPS"),
        ({"steps": 9, "low_noise_model": "the same"}, "TWO_MODELS"),
        ({"steps": 9, "most_bytes": 4 * 16 * SIZE * SIZE * 2}, "MEMORY"),
    ],
    ids=repr,
)
def test_where_no_plan_is_searched_the_report_says_why(node, load_model, pack, monkeypatch, inputs, reason):
    given = dict(inputs)
    if "low_noise_model" in given:
        given["low_noise_model"] = load_model("flux")
    outputs = sys.modules[f"{pack.__name__}.model_patchers.reference_outputs"]
    monkeypatch.setattr(outputs, "MOST_BYTES", given.pop("most_bytes", outputs.MOST_BYTES))
    answer = node(**given)
    finder = pack.dicache_core.tuning.plan_finder
    text, report = finder.NO_SEARCH[finder.NoSearch[reason]], json.loads(answer.result[3])
    assert report["plan_search"]["not_searched"] == finder.NoSearch[reason].value
    assert not any(trial["plan"] for trial in report["trials"])
    assert f"No plan was searched: {text}." in answer.ui["text"][0]


def test_a_speed_is_reached(node):
    report = json.loads(node(want="reach the speed", speed=1.4).result[3])
    (chosen,) = [trial for trial in report["trials"] if trial["chosen"]]
    assert report["bounds"] == {"speed": 1.4}
    if report["granted"]:
        assert chosen["speed"] >= 1.4 * 0.98
    else:
        assert chosen["speed"] == max(trial["speed"] for trial in report["trials"])


def test_without_a_vae_the_latents_are_measured(node):
    answer = node(steps=9)
    assert "Connect a VAE" in answer.result[1].message
    assert len(answer.ui["images"]) == 1, "the plot"


def test_a_guider_and_sigmas_take_the_widgets_place(comfy, node, load_model):
    custom = comfy.module("comfy_extras.nodes_custom_sampler")
    guider = custom.CFGGuider.execute(load_model("flux"), prompt(0), testbed.conditioning("flux", ""), 1.0).result[0]
    sigmas = custom.BasicScheduler.execute(load_model("flux"), "simple", 10, 1.0).result[0]
    by_widgets = json.loads(node(steps=10).result[3])
    by_parts = json.loads(node(positive=None, negative=None, guider=guider, sigmas=sigmas, steps=3).result[3])
    assert by_parts["steps"] == 10
    pictures = [[[p["psnr"] for p in t["pictures"]] for t in r["trials"]] for r in (by_widgets, by_parts)]
    assert pictures[0] == [pytest.approx(psnr) for psnr in pictures[1]]
    with pytest.raises(ValueError, match="a guider has its own prompt"):
        node(guider=guider, positive_2=prompt(1))


def test_a_model_that_fails_without_dicache_is_said(node, load_model):
    model = load_model("flux")
    model.set_model_patch_replace(
        lambda args, extra: {**extra["original_block"](args), "img": args["img"] * torch.nan}, "dit", "double_block", 2
    )
    with pytest.raises(ValueError, match="nothing can be compared with it"):
        node(model, steps=2)


def test_a_speed_of_one_is_refused(comfy):
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheTuning"]
    assert "write a higher one" in cls.validate_inputs(speed=1.0, want="reach the speed")
    assert cls.validate_inputs(speed=1.0, want="similar") is True


def test_listing_and_forgetting_sample_nothing(node, passes_of_the_model, pack):
    model, count = passes_of_the_model
    text = node(model, action="list what is remembered").result[3]
    assert text == "Nothing is remembered."
    node(model, steps=9)
    ran = count()
    answer = node(model, action="list what is remembered")
    assert "Flux" in answer.result[3]
    assert "7 to 12 steps" in answer.result[3]
    assert answer.ui["text"] == [answer.result[3]]
    assert "The action of DiCache Tune is" in answer.result[0].message
    before = pack.model_patchers.tuned_digest()
    assert node(model, action="forget this model").result[3].startswith("Forgotten: flux-")
    assert pack.model_patchers.tuned_digest() != before
    assert "Nothing is remembered for this Flux model" in node(model, action="forget this model").result[3]
    assert count() == ran


def test_a_choice_that_cannot_be_saved_is_said_and_nothing_else_is_lost(node, comfy, pack, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the folder's place", encoding="utf-8")
    monkeypatch.setattr(pack.model_patchers.tuned_files, "user_folder", lambda: tmp_path / "file")
    answer = node(steps=9)
    policy, _, plot, report = answer.result
    report = json.loads(report)
    assert policy == pack.dicache_core.policies.chosen_policy(report["trials"][0]["policy"], target=policy.target)
    assert plot.ndim == 4
    assert report["remembered_in"] is None
    assert "cannot be written" in report["not_saved"]
    assert "Not saved: " in answer.ui["text"][0]
    assert "connect the policy output to DiCache Apply" in answer.ui["text"][0]


@pytest.mark.parametrize(
    "missing", ["kornia.metrics", "matplotlib.backends.backend_agg"], ids=["nothing to measure with", "nor to draw"]
)
def test_what_is_missing_is_said_before_anything_is_sampled(node, passes_of_the_model, monkeypatch, missing):
    model, count = passes_of_the_model
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match="run pip install"):
        node(model, steps=9)
    assert count() == 0


def test_no_steps_are_said_before_anything_is_sampled(node, passes_of_the_model, comfy):
    """Denoise 0, which the host's schedulers answer with no sigmas at all, and what SplitSigmas leaves of step 0."""
    model, count = passes_of_the_model
    for nothing in ({"denoise": 0.0}, {"sigmas": torch.tensor([])}, {"sigmas": torch.tensor([1.0])}):
        with pytest.raises(
            ValueError, match=r"no steps to sample: .* Set denoise above 0, or connect at least two sigmas"
        ):
            node(model, **nothing)
    assert count() == 0
    compare = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheCompare"].PREPARE_CLASS_CLONE(None)
    with pytest.raises(ValueError, match="no steps to sample"):
        compare.execute(
            model=model, positive=prompt(0), negative=prompt(1), settings="2x", sigmas=torch.tensor([1.0]),
            latent_image={"samples": testbed.empty_latent("flux", 1, SIZE)},
            seed=3, steps=10, cfg=1.0, sampler_name="euler", scheduler="simple",
        )  # fmt: skip


def test_two_experts_remember_both(node, load_model, pack):
    """The same model twice here, so that one file serves both."""
    first, second = load_model("flux"), load_model("flux")
    report = json.loads(node(first, steps=10, low_noise_model=second, switch_at=4).result[3])
    assert report["steps"] == 10
    assert report["trials"][0]["calls"] == 20, "from two seeds"
    assert len(pack.model_patchers.remembered(second).choices) == 1


def tune_graph(**inputs):
    graph = demo_graph(CAPTIONS[0])
    given = {"want": "similar", "speed": 2.0, **inputs}
    sampler = graph[SAMPLER]["inputs"] | {"model": [LOADER, 0], **given}
    nodes = {key: graph[key] for key in (LOADER, CAPTION, NEGATIVE, LATENT)}
    return {**nodes, TUNE: {"class_type": "DiCacheTuning", "inputs": sampler}}


def test_progress_covers_the_whole_tuning(server):
    run = server.run(tune_graph(steps=9, seed=77))
    assert run.error is None
    marks = [event["value"] for event in run.data("progress") if event["node"] == TUNE]
    assert marks == sorted(marks)
    assert {event["max"] for event in run.data("progress")} == {marks[-1]}
    assert run.data("dicache.step") == [], "there is no strip to show these runs"
    said = [event["text"] for event in run.data("dicache.text") if event["node"] == TUNE]
    assert said
    assert all(" left" in line for line in said), "what was found is the node's output"
    (report,) = run.outputs[TUNE]["dicache"]
    assert report["remembered_in"].startswith("flux-")


def test_tuning_again_tunes_where_what_was_tuned_is_gone_and_only_there(server):
    """The same inputs, which ComfyUI answers from its cache otherwise."""
    assert server.run(tune_graph(action="forget everything", seed=8)).error is None
    graph = tune_graph(steps=4, seed=79)

    def is_executed():
        run = server.run(graph)
        assert run.error is None
        return TUNE in {data["node"] for data in run.data("executing")}

    assert is_executed()
    assert not is_executed()
    (file,) = (server.base / "user" / "dicache" / "tuned").glob("flux-*.json")
    for end in (lambda: file.write_text("damaged", encoding="utf-8"), file.unlink):
        end()
        assert is_executed()
        assert json.loads(file.read_text(encoding="utf-8"))["choices"]
        assert not is_executed()


def test_interrupt_ends_it_at_once_and_nothing_is_remembered(server):
    assert server.run(tune_graph(action="forget everything")).error is None
    stopped_at = []

    def stop(event):
        if event.type == "progress" and not stopped_at:
            stopped_at.append(time.perf_counter())
            server.interrupt()

    run = server.run(tune_graph(steps=200), stop)
    assert run.data("execution_interrupted"), "the tuning was not interrupted"
    assert run.events[-1].time - stopped_at[0] < 5.0
    listed = server.run(tune_graph(action="list what is remembered", seed=5))
    assert listed.outputs[TUNE]["text"] == ["Nothing is remembered."]


def test_compare_knows_it_too(comfy, node, load_model):
    node(steps=10)
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheCompare"]
    sampling = dict(seed=3, steps=10, cfg=1.0, sampler_name="euler", scheduler="simple", denoise=1.0)
    answer = cls.PREPARE_CLASS_CLONE(None).execute(
        model=load_model("flux"), positive=prompt(0), negative=testbed.conditioning("flux", ""), settings="tuned, 2x",
        latent_image={"samples": testbed.empty_latent("flux", 1, SIZE)}, **sampling,
    )  # fmt: skip
    _, tuned, _ = json.loads(answer.result[2])
    assert tuned["label"] == "tuned"
    assert tuned["runs"][0]["tuned"]["found"] == "fits"
