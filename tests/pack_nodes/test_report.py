"""DiCache Report: the plot, the text and the JSON of real runs, and what it says when there was none."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from demo_graph import APPLY, SAMPLER, demo_graph
from testbed.captions import CAPTIONS

REPORT = "9"
COMPUTED, REUSED = (217, 130, 43), (34, 163, 139)  # the colours of the legend


@pytest.fixture
def sampled(comfy, pack, load_model, sample):
    """``sampled(captions, widget=..., **sample)``: the log of a node whose model has sampled."""

    def run(captions=CAPTIONS[0], widgets=None, **options):
        model, log = comfy.node("DiCacheApply", model=load_model("flux"), **({"preset": "published"} | (widgets or {})))
        sample(model, captions, **{"steps": 12, "size": 16, **options})
        return log

    return run


@pytest.fixture
def report(comfy, pack):
    """``report(log)``: the node's whole answer, outputs and ``ui``."""
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheReport"]
    return lambda log: cls.PREPARE_CLASS_CLONE(None).execute(statistics=log, after=None)


def share(plot: torch.Tensor, colour: tuple[int, int, int]) -> float:
    """Share of a picture's pixels that have exactly this colour."""
    return ((plot * 255).round() == torch.tensor(colour)).all(-1).float().mean().item()


def test_report_agrees_with_the_run(sampled, report):
    log = sampled()
    plot, text = report(log).result
    assert plot.shape == (1, 960, 1280, 3)
    assert 0 <= plot.min() < plot.max() <= 1
    (run,) = json.loads(text)["runs"]
    assert run["cells"] == log.runs[0].cells
    assert run["computed"] + run["reused"] == run["steps"] == 12
    assert run["reused"] == run["cells"].count("r") > 0
    assert run["seconds"] == pytest.approx(sum(run["seconds_per_step"]))
    passes = run["seconds_per_step"]
    spent = sum(s for s, cell in zip(passes, run["cells"], strict=True) if cell == "r")
    assert run["seconds_saved"] == pytest.approx(run["reused"] * run["seconds_computed_step"] - spent)
    assert run["held_bytes"] > 0
    assert run["settings"]["threshold"] == 0.4
    assert run["effective"]["warmup_steps"] == 3
    assert [step["step"] for step in run["samples"][0]["steps"]] == list(range(12))


def test_plot_shows_what_was_reused_and_what_was_computed(sampled, report):
    reusing, computing = (report(sampled(widgets=w)).result[0] for w in ({"threshold": 0.3}, {"threshold": 0.0}))
    assert share(reusing, REUSED) > share(computing, REUSED) > 0, "the legend alone has the colour of reuse"
    assert share(computing, COMPUTED) > share(reusing, COMPUTED) > 0


@pytest.mark.parametrize(
    ("policy", "panels"),
    [
        ({"policy": "dicache"}, ["error", "seconds"]),
        ({"policy": "output_reuse"}, ["seconds"]),
        ({"policy": "spectrum"}, ["seconds"]),
        ({"policy": "step_mask", "mask": "1,1,0,1"}, ["seconds"]),
    ],
    ids=str,
)
def test_a_method_that_measures_no_error_has_no_panel_for_it(comfy, pack, sampled, report, monkeypatch, policy, panels):
    plot, drawn = sys.modules[f"{pack.dicache_nodes.rendering.__name__}.plot"], []
    monkeypatch.setattr(plot, "as_picture", lambda figure: drawn.append(figure) or torch.zeros(1, 960, 1280, 3))
    (chosen,) = comfy.node("DiCachePolicy", **policy)
    log = sampled(widgets={"policy": chosen})
    assert log.runs[0].reused > 0
    (run,) = json.loads(report(log).result[1])["runs"]
    shown = [step[name] for step in run["samples"][0]["steps"] for name in ("error", "accumulated")]
    assert any(shown) == ("error" in panels), "the node's own drawing goes by these"
    assert [axis.get_ylabel() for axis in drawn[0].axes] == panels


def test_every_stream_and_sample_has_an_entry(sampled, report):
    log = sampled(list(CAPTIONS[:2]), cfg=3.0)
    plot, text = report(log).result
    (run,) = json.loads(text)["runs"]
    assert {(sample["stream"], sample["row"]) for sample in run["samples"]} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert plot.shape == (1, 960, 1280, 3)


def test_many_streams_and_few_steps_still_draw(sampled, report):
    assert report(sampled(CAPTIONS[0], batch=7, steps=2, size=8)).result[0].shape == (1, 960, 1280, 3)


@pytest.mark.parametrize(
    ("widgets", "options", "reason"),
    [
        ({"threshold": 0.0}, {}, "threshold 0 never skips"),
        ({"warmup_steps": 50}, {}, "every step was warm-up"),
        ({"threshold": 0.001}, {}, "the threshold 0.001. Write a higher threshold, or -1 and choose"),
        ({"preset": "fast"}, {"steps": 3}, "3 steps are too few to skip any"),
        ({"preset": "balanced"}, {"steps": 3}, "Use more than 3 steps"),
    ],
)
def test_text_says_why_nothing_was_skipped(sampled, report, widgets, options, reason):
    text = report(sampled(widgets=widgets, **options)).ui["text"][0]
    assert "0 skipped" in text
    assert reason in text
    if "preset" in widgets:  # these follow a target: there is no threshold to write
        assert "threshold" not in text
        assert "smallest error" not in text


@pytest.mark.parametrize(
    ("widgets", "settings"),
    [
        ({}, "DiCache (the paper's method), threshold 0.4, probe depth 1, warm-up 3 steps"),
        ({"preset": "balanced"}, "forecast (developed here), up to 2x, warm-up 1 step"),
        (
            {"preset": "balanced", "threshold": 0.25, "probe_depth": 2},
            "DiCache (the paper's method), threshold 0.25, probe depth 2, warm-up 3 steps",
        ),
    ],
)
def test_text_names_model_method_and_what_was_in_force(sampled, report, widgets, settings):
    text = report(sampled(widgets=widgets)).ui["text"][0]
    assert text.startswith("Flux, 12 steps: ")
    assert settings in text.splitlines()
    for internal in ("delta_y", "trajectory", "reused", "forecast_even", "saved"):
        assert internal not in text


CLOSE = ("Estimate: very close to the uncached", "Estimate: close to the uncached", "Estimate: may differ visibly")


def test_text_says_how_close_the_picture_is_and_what_the_model_vetoed(sampled, report):
    log = sampled(widgets={"preset": "balanced"}, steps=20)
    (run,) = json.loads(report(log).result[1])["runs"]
    text = report(log).ui["text"][0]
    assert run["closeness"] == log.runs[0].closeness is not None
    assert {"very close": CLOSE[0], "close": CLOSE[1], "visible": CLOSE[2]}[run["closeness"]] in text
    assert run["vetoed"] == log.runs[0].vetoed
    assert ("planned skip" in text) == (run["vetoed"] > 0)


@pytest.mark.parametrize(("widgets", "steps"), [({"threshold": 1.5}, 12), ({"threshold": 0.0}, 6)], ids=str)
def test_of_a_method_without_an_account_and_of_a_full_run_nothing_is_said(sampled, report, widgets, steps):
    text = report(sampled(widgets=widgets, steps=steps)).ui["text"][0]
    assert not any(words in text for words in CLOSE)


@pytest.mark.parametrize(
    ("steps", "said"), [((3,), "1 planned skip cancelled"), ((3, 5), "2 planned skips cancelled")], ids=str
)
def test_text_counts_the_steps_that_were_vetoed(pack, sampled, report, steps, said):
    log = sampled(widgets={"preset": "balanced"})
    core, (run,) = pack.dicache_core, log.runs
    veto, planned = (
        core.engine.decision.Decision(reuse=False, reason=core.Reason.VETO),
        core.engine.decision.Decision(reuse=False, reason=core.Reason.ERROR),
    )
    run.passes = [
        replace(p, decisions=(veto,)) if p.step.step_index in steps else replace(p, decisions=(planned,))
        if "forecasts off" in {d.reason for d in p.decisions} else p
        for p in run.passes
    ]  # fmt: skip
    assert run.reused > 0
    assert said in report(log).ui["text"][0]


def test_interrupted_run_reports_what_it_has(comfy, pack, load_model, sample, report):
    class Stop(Exception):
        pass

    def stop(options):
        if options["i"] == 5:
            raise Stop

    model, log = comfy.node("DiCacheApply", model=load_model("flux"))
    calls = iter(range(100))
    model.set_model_unet_function_wrapper(
        lambda forward, args: (stop({"i": next(calls)}), forward(args["input"], args["timestep"], **args["c"]))[1]
    )
    with pytest.raises(Stop):
        sample(model, CAPTIONS[0], steps=12, size=16)
    (run,) = json.loads(report(log).result[1])["runs"]
    assert run["cells"].endswith("-------")
    assert run["seconds_per_step"][-1] is None


def test_no_run_is_said_on_the_node(pack, report):
    answer = report(pack.dicache_core.RunLog())
    assert "No run yet" in answer.ui["text"][0]
    assert answer.result[0].shape == (1, 960, 1280, 3), "what is behind the plot still runs"
    assert json.loads(answer.result[1]) == {"runs": []}


def test_without_statistics_it_says_bypassed(comfy):
    cls = comfy.nodes.NODE_CLASS_MAPPINGS["DiCacheReport"]
    answer = cls.PREPARE_CLASS_CLONE(None).execute(after=None)
    assert "bypassed" in answer.ui["text"][0]
    assert answer.ui["dicache"] == []


def test_letters_of_the_plot_stand_out(pack):
    plot = sys.modules[pack.dicache_nodes.rendering.plot_run.__module__]
    for ink in (plot.INK, plot.FAINT):
        assert contrast(ink, plot.PAPER) >= 4.5
    assert plot.SMALL * plot.DPI / 72 / 3 >= 10, "pixels of a letter at the third of the size that a node shows"


def contrast(one: str, other: str) -> float:
    """WCAG's ratio of two colours such as ``#1d1f24``."""

    def luminance(colour: str) -> float:
        shares = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_missing_matplotlib_says_what_to_install(sampled, report, monkeypatch):
    log = sampled(steps=3)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        report(log)


def test_report_runs_after_the_sampler_in_the_server(server):
    graph = demo_graph(CAPTIONS[0], steps=8, seed=41)
    graph[REPORT] = {"class_type": "DiCacheReport", "inputs": {"statistics": [APPLY, 1], "after": [SAMPLER, 0]}}
    run = server.run(graph)
    assert run.error is None
    assert "8 steps" in run.outputs[REPORT]["text"][0]
    (summary,) = run.outputs[REPORT]["dicache"]
    assert summary["steps"] == len(summary["cells"]) == 8, "the history has what the report has"
    graph[SAMPLER]["inputs"]["seed"] = 42
    again = server.run(graph).outputs[REPORT]
    assert len(again["dicache"]) == 1, "the run of the prompt before is still in the report"


def test_of_many_runs_the_latest_are_plotted_and_say_so(pack, sampled, report, monkeypatch):
    """Each plot takes a good part of a second."""
    log, plot = sampled(), sys.modules[f"{pack.dicache_nodes.rendering.__name__}.plot"]
    monkeypatch.setattr(plot, "MOST_PLOTS", 2)
    log.runs = log.runs * 3
    many, text = report(log).result
    assert len(many) == 2
    assert torch.equal(many[:1], plot.plot_run(log.runs[0], "the last 2 of 3 runs"))
    assert not torch.equal(many[:1], plot.plot_run(log.runs[0])), "nothing says that there are more"
    assert len(json.loads(text)["runs"]) == 3


def test_title_of_a_run_in_parts_says_how_many_blocks_ran(pack):
    plot = sys.modules[f"{pack.__name__}.dicache_nodes.rendering.plot"]
    run = SimpleNamespace(
        architecture="flux", speedup=1.5, by_steps=True, reused=0, cells="cpc", shares=[1.0, 0.25, 1.0], ran=2.25
    )
    assert plot._title(run) == "flux: blocks of 2.2 of 3 steps ran, 1.50x the speed"
    run.shares, run.reused = None, 1
    assert plot._title(run) == "flux: 1 of 3 steps skipped, 1.50x the speed"
