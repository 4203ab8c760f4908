"""tools/real/ from end to end: the testbed's model in a real server, as somebody measures their own."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jsonschema
import numpy as np
import pytest
from comfy_server import CELLS, ComfyServer
from demo_graph import APPLY, SAMPLER, SAVE, demo_graph
from layout import REPO
from PIL import Image
from testbed.captions import CAPTIONS
from testbed.conditioning import SHAPES

sys.path.append(str(REPO / "tools" / "real"))
import bench_real
import measures
from api_prompt import WorkflowError, api_prompt
from bench_real import Comfy
from real_table import tables
from ways import WAYS, Bench

pytestmark = pytest.mark.one_host

STEPS = 14
APPLY_TYPE = "DiCacheApply"
SCHEMA = json.loads((REPO / "tests" / "golden" / "real.schema.json").read_text(encoding="utf-8"))
WORKFLOW = json.loads((REPO / "tools" / "demo" / "workflows" / "testbed_flux.json").read_text(encoding="utf-8"))
TEMPLATES = sorted((REPO / "example_workflows").glob("*.json"))
SECRET = "ann-s-private-model"


class Desk:
    """Somebody's folder: ``measure(2)`` measures two prompts and returns the exit status."""

    def __init__(self, url: str, folder) -> None:
        self.url, self.folder, self.out = url, folder, folder / "out"
        (folder / "captions.json").write_text(json.dumps(CAPTIONS), encoding="utf-8")
        self.workflow = self.saved(f"{SECRET}.json")

    def saved(self, name: str, steps: int = STEPS, left_out: str = "", **values: str):
        """The testbed's workflow as somebody saved it: other steps, a node bypassed, or another first value of one."""
        workflow = json.loads(json.dumps(WORKFLOW))
        for node in workflow["nodes"]:
            if node["type"] == "KSampler":
                node["widgets_values"][2] = steps
            if node["type"] in values:
                node["widgets_values"][0] = values[node["type"]]
            if node["type"] == left_out:
                node["mode"] = 4  # bypassed
        workflow["nodes"].append({"id": 99, "type": "Note", "mode": 0, "widgets_values": [SECRET]})
        (self.folder / name).write_text(json.dumps(workflow), encoding="utf-8")
        return self.folder / name

    def measure(self, prompts: int, *more: str, workflow=None) -> int:
        options = ["--url", self.url, "--prompts", str(prompts), "--list", str(self.folder / "captions.json")]
        return bench_real.main([str(workflow or self.workflow), *options, "--out", str(self.out), *more])

    @property
    def found(self) -> dict:
        return json.loads((self.out / bench_real.RESULT).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def measured(server, tmp_path_factory):
    """One prompt in every way, and then a second one."""
    desk = Desk(server.url, tmp_path_factory.mktemp("desk"))
    assert desk.measure(1) == 0
    desk.first = desk.found
    assert desk.measure(2) == 0
    return desk


@pytest.fixture
def desk(server, tmp_path):
    return Desk(server.url, tmp_path)


def test_it_writes_what_its_schema_says(measured):
    jsonschema.validate(measured.found, SCHEMA)
    assert [(run["prompt"], run["way"]) for run in measured.found["runs"]] == [(n, way) for n in (0, 1) for way in WAYS]
    assert not [run for run in measured.found["runs"] if "failed" in run]
    assert (measured.found["family"], measured.found["sampling"]["steps"]) == ("flux", [STEPS])
    assert (measured.found["width"], measured.found["height"], measured.found["images"]) == (96, 96, 1)


def test_three_ways_compute_what_balanced_does(measured):
    runs = {run["way"]: run for run in measured.found["runs"] if run["prompt"] == 0}
    count = runs["balanced"]["computed"]
    assert count < STEPS
    assert {way: runs[way]["computed"] for way in ("easycache", "paper", "fewer")} == dict.fromkeys(
        ("easycache", "paper", "fewer"), count
    )
    assert [runs[way]["dicache"][0]["policy"] for way in ("easycache", "paper")] == ["easycache", "dicache"]
    assert (runs["fewer"]["steps"], runs["without"]["steps"]) == (count, STEPS)
    assert runs["fidelity"]["computed"] >= count >= runs["fast"]["computed"]


def test_the_same_decibels_as_by_hand(server, measured):
    """Of a graph that was written for the API."""

    def image(**apply: str) -> np.ndarray:
        graph = demo_graph(CAPTIONS[1], seed=bench_real.SEED + 1, steps=STEPS)
        if apply:
            graph[APPLY]["inputs"] |= apply
        else:
            graph[SAMPLER]["inputs"]["model"] = graph.pop(APPLY)["inputs"]["model"]
        run = server.run(graph)
        return np.asarray(Image.open(io.BytesIO(server.image(run.outputs[SAVE]["images"][0]))).convert("RGB"))[None]

    (fast,) = [run for run in measured.found["runs"] if (run["prompt"], run["way"]) == (1, "fast")]
    assert fast["psnr"] == pytest.approx(measures.psnr(image(preset="fast"), image()), abs=0.02)


def test_nothing_in_it_is_personal(measured):
    text = (measured.out / bench_real.RESULT).read_text(encoding="utf-8")
    private = [SECRET, str(measured.folder), measured.folder.name, socket.gethostname(), ".safetensors", "main.py"]
    assert not [word for word in (*private, *CAPTIONS[:2]) if word in text]
    assert "/" not in text.replace(measured.found["place"]["device"], "").replace(measured.found["name"], "")


def test_the_sheet_has_a_row_for_each_prompt(measured):
    with Image.open(measured.out / bench_real.SHEET) as sheet:
        assert sheet.width > len(WAYS) * 320
        assert 2 * 320 < sheet.height < 3 * 320
    assert not list((measured.out / "images").glob("*.npy")), "what is needed in between is gone"


def test_the_table_has_a_line_for_each_way(measured):
    text = tables([measured.found])
    assert text.startswith(f"**Flux**, 96x96, {STEPS} steps, euler, simple. 2 prompts on cpu")
    assert len(text.splitlines()) == 4 + len(WAYS)


def test_what_is_known_is_not_sampled_again(measured, capsys):
    """Not by the second call of ``measured``, and nothing at all where all is there."""
    assert measured.found["runs"][: len(WAYS)] == measured.first["runs"]
    before = measured.found
    assert measured.measure(2) == 0
    assert measured.found == before
    assert "loading" not in capsys.readouterr().out


def test_begun_anew_everything_is_sampled_anew(host, tmp_path):
    """A ComfyUI that keeps what its nodes made would hand it out in no time."""
    with ComfyServer(host, arguments=("--cache-lru", "200"), cells=CELLS) as server:
        desk = Desk(server.url, tmp_path)
        for more in ((), ("--again",)):
            assert desk.measure(1, *more) == 0
            assert all(run["sampling_seconds"] > 0 for run in desk.found["runs"])


def test_a_run_that_is_stopped_goes_on(desk, monkeypatch, capsys):
    ordinary, ran = Comfy.run, []

    def run(self, *args):
        ran.append(args)
        if len(ran) == 4:
            raise KeyboardInterrupt
        return ordinary(self, *args)

    monkeypatch.setattr(Comfy, "run", run)
    assert desk.measure(1) == 130
    assert "goes on from here" in capsys.readouterr().err
    known = desk.found["runs"]
    assert [run["way"] for run in known] == list(WAYS[:2])
    assert desk.measure(1) == 0
    assert desk.found["runs"][:2] == known
    assert [run["way"] for run in desk.found["runs"]] == list(WAYS)
    said = capsys.readouterr().out
    assert "2 runs are in" in said
    assert " left" in said


def test_a_video_from_an_api_export(desk):
    """Every frame counts, and guidance is in the graph."""
    graph = demo_graph(CAPTIONS[0], "wan", steps=20, cfg=3.0)
    workflow = desk.folder / "api.json"
    workflow.write_text(json.dumps(graph), encoding="utf-8")
    assert desk.measure(1, workflow=workflow) == 0
    jsonschema.validate(desk.found, SCHEMA)
    assert (desk.found["family"], desk.found["images"]) == ("wan", SHAPES["wan"].frames)
    assert f", {SHAPES['wan'].frames} frames, 20 steps" in tables([desk.found])


def test_two_experts_that_share_a_schedule(desk):
    """Each has its own DiCache Apply: counts are its own, and fewer steps change over at the same part."""
    graph = demo_graph(CAPTIONS[0])
    shared = {key: value for key, value in graph[SAMPLER]["inputs"].items() if key not in ("seed", "denoise")}
    shared |= {"steps": 24, "noise_seed": 0}
    first = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10, "return_with_leftover_noise": "enable"}
    second = {
        "add_noise": "disable",
        "start_at_step": 10,
        "end_at_step": 10000,
        "return_with_leftover_noise": "disable",
    }
    graph["low"] = {"class_type": APPLY_TYPE, "inputs": dict(graph[APPLY]["inputs"])}
    graph["high"] = {"class_type": "KSamplerAdvanced", "inputs": {**shared, **first}}
    graph[SAMPLER] = {
        "class_type": "KSamplerAdvanced",
        "inputs": {**shared, **second, "model": ["low", 0], "latent_image": ["high", 0]},
    }
    workflow = desk.folder / "api.json"
    workflow.write_text(json.dumps(graph), encoding="utf-8")
    assert desk.measure(1, workflow=workflow) == 0
    jsonschema.validate(desk.found, SCHEMA)
    runs = {run["way"]: run for run in desk.found["runs"]}
    calls = {way: {part["node"]: part["computed"] for part in runs[way]["dicache"]} for way in ("balanced", "paper")}
    assert set(calls["balanced"]) == {0, 1}
    assert calls["balanced"] == calls["paper"]
    assert runs["balanced"]["evaluations"] == 24
    assert runs["fewer"]["steps"] == runs["balanced"]["computed"] < 24
    assert runs["fewer"]["psnr"] > 10, "the second one goes on where the first one stopped"


# What a shell starts in the background, tests among it, ignores Ctrl+C, and so does all that it starts.
STARTED_BY_HAND = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(os.name == "nt", reason="sends the signal of Ctrl+C")
def test_ctrl_c_takes_the_prompt_back(server, desk):
    """It stops in ComfyUI, too."""
    workflow = desk.saved("long.json", steps=4000)
    arguments = [bench_real.__file__, str(workflow), "--url", server.url, "--out", str(desk.out)]
    with subprocess.Popen(
        [sys.executable, "-c", STARTED_BY_HAND, *arguments, "--list", str(desk.folder / "captions.json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert "loading" in process.stdout.readline()
        wait_until(lambda: queue(server)["queue_running"])
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped; the same command goes on from here"
    wait_until(lambda: not queue(server)["queue_running"], patience=5.0)


def queue(server) -> dict:
    return json.loads(server.get("/queue"))


def wait_until(condition, patience: float = 30.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_another_python_is_told_to_take_comfyuis(tmp_path):
    """One that has none of its packages."""
    command = [sys.executable, "-S", "-E", bench_real.__file__, "x.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert "run this with the Python of your ComfyUI" in line
    assert done.returncode == 1


def test_another_workflow_needs_another_folder(measured, capsys):
    before = measured.found
    other = measured.saved("other.json", steps=STEPS + 1)
    assert measured.measure(1, workflow=other) == 1
    assert "was made with another sampling, workflow: name another folder by --out" in capsys.readouterr().err
    assert measured.found == before


def test_a_failing_way_is_left_out_and_the_others_go_on(desk, monkeypatch):
    """The graph of one way names a policy that needs a calibration, as a method may fail on somebody's model."""
    monkeypatch.setitem(sys.modules["ways"].COUNTED, "easycache", "magcache")
    assert desk.measure(1) == 0
    jsonschema.validate(desk.found, SCHEMA)
    failed = [run for run in desk.found["runs"] if "failed" in run]
    assert [run["way"] for run in failed] == ["easycache"]
    assert "EasyCache" not in tables([desk.found])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(left_out="DiCacheApply"), "no DiCache Apply in this workflow"),
        (
            dict(UNETLoader="mine.safetensors"),
            "UNETLoader asks for 'mine.safetensors', which this server does not have",
        ),
    ],
)
def test_a_workflow_that_cannot_run_is_told_in_one_line(desk, capsys, change, words):
    assert desk.measure(1, workflow=desk.saved("w.json", **change)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_no_server_and_no_file_are_told_in_one_line(desk, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        desk.url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert desk.measure(1) == 1
    assert "no ComfyUI answers" in capsys.readouterr().err
    assert desk.measure(1, workflow=desk.folder / "none.json") == 1
    assert "cannot be read as JSON" in capsys.readouterr().err


COMPARES = "18"  # samples by itself


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem[:2])
def test_every_template_is_understood(server, template):
    """Its prompt is found, and the server accepts every way of it but for missing files."""
    info = Comfy(server.url).nodes()
    prompt = api_prompt(json.loads(template.read_text(encoding="utf-8")), info)
    if template.stem[:2] == COMPARES:
        with pytest.raises(WorkflowError, match="no DiCache Apply in this workflow"):
            Bench.of(prompt, info)
        return
    bench = Bench.of(prompt, info)
    assert bool(bench.texts) != any(node["class_type"] == "LoadImage" for node in bench.prompt.values())
    assert len(bench.samplers) == len(bench.applies)
    texts = [prompt[name]["inputs"][key] for name, key in bench.texts]
    assert not [text for text in texts if "blurry" in text or "low quality" in text or not text], "a negative prompt"
    for way in WAYS:
        made = bench.seeded(5, "a fox").way(way, dict.fromkeys(bench.applies, 5), 10 * len(bench.applies))
        assert refused(server, made) <= {"value_not_in_list", "custom_validation_failed"}
        assert any("a fox" in node["inputs"].values() for node in made.values()) == bool(bench.texts)


def refused(server, prompt: dict) -> set[str]:
    """Kinds of complaint about a prompt, which needs files that are not there."""
    body = json.dumps({"prompt": prompt}).encode()
    request = urllib.request.Request(f"{server.url}/prompt", body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=30)
    errors = json.loads(refusal.value.read())["node_errors"].values()
    return {error["type"] for node in errors for error in node["errors"]}
