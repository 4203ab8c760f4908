"""Plans for others: what a file holds, which are refused, and those that come with the pack."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from core.test_real_plans import SCHEDULES, real_plans

from dicache_core import Choice, RunContext
from dicache_core.calibration import LARGEST_FILE
from dicache_core.call_plan import CallPlan, shares_of
from dicache_core.schedule import Schedule
from dicache_core.target import Target
from dicache_core.tuning.context import SamplerFamily
from dicache_core.tuning.shared_plan import SharedPlan
from dicache_core.tuning.store import TunedModel

FOLDER = Path(__file__).parents[2] / "plans"
PLAIN = RunContext(SamplerFamily.DETERMINISTIC, 30)
CHOICE = Choice(PLAIN, "similar", "forecast", "10x", 9.0, 31.0, 0.95, CallPlan((0.0, 0.25, 1.0), 30))
SOUND = SharedPlan("flux", "DiCache Tune", CHOICE)


def test_there_and_back():
    assert SharedPlan.from_json(SOUND.to_json()) == SOUND
    assert len(SOUND.to_json()) < 1000


def test_it_is_for_models_of_its_architecture_whatever_their_weights():
    imported = SOUND.for_model("flux")
    assert imported == replace(CHOICE, goal="similar, imported")
    known = TunedModel("flux", "another one's fingerprint").with_choice(imported)
    assert known.find(PLAIN).plan == CHOICE.plan
    assert replace(SOUND, choice=replace(CHOICE, goal="w" * 100)).for_model("flux").goal == "w" * 90 + ", imported"
    with pytest.raises(ValueError, match="this plan is for Flux models, but this model is Wan: choose a plan for it"):
        SOUND.for_model("wan")


def test_what_people_are_told_of_it():
    assert SOUND.label == "Flux, 3 of 30 steps computed (10x), for 23 to 40 steps, by DiCache Tune"
    unknown = TunedModel("flux", "0" * 16, (replace(CHOICE, psnr=0.0, ssim=0.0),))
    assert "quality not measured" in unknown.describe()


def changed(**changes) -> str:
    content = json.loads(SOUND.to_json())
    for path, value in changes.items():
        *way, last = path.split("__")
        where = content
        for step in way:
            where = where[step]
        if value is None:
            del where[last]
        else:
            where[last] = value
    return json.dumps(content)


HOSTILE = [
    "",
    "{",
    "[]",
    "null",
    '"plan"',
    "[" * 60_000,
    '{"a":' * 10_000,
    "\x80\x04\x95pickle",
    SOUND.to_json()[:-5],
    " " * LARGEST_FILE + SOUND.to_json(),
    '{"version": 2, "architecture": "flux", "ratios": [1.0, 0.9]}',
    TunedModel("flux", "0" * 16, (CHOICE,)).to_json(),
    changed(version=0),
    changed(version=True),
    changed(version="1"),
    changed(version=10**400),
    changed(version=["1"] * 1000),
    changed(architecture=7),
    changed(architecture=None),
    changed(found_with=""),
    changed(found_with="w" * 101),
    changed(found_with="two\nlines"),
    changed(found_with="\x1b[31mred"),
    changed(found_with={"__class__": "x"}),
    changed(choice=None),
    changed(choice=[]),
    changed(choice__plan=None),
    changed(choice__plan=[0.0, 1.0]),
    changed(choice__plan__shares=[]),
    changed(choice__plan__shares=[0.0]),
    changed(choice__plan__shares="0, 0.5, 1"),
    changed(choice__plan__shares=[0.0, "1"]),
    changed(choice__plan__shares=[0.0, True, 1.0]),
    changed(choice__plan__shares=[1.0, 0.0]),
    changed(choice__plan__shares=[0.0, 0.5, 0.5, 1.0]),
    changed(choice__plan__shares=[-0.1, 1.0]),
    changed(choice__plan__shares=[0.0, 1.5]),
    changed(choice__plan__shares=[0.0, float("nan"), 1.0]),
    changed(choice__plan__shares=[0.0, float("inf")]),
    changed(choice__plan__shares=[0.0, 10**400]),
    changed(choice__plan__shares=[i / 1000 for i in range(501)], choice__plan__calls=1000),
    changed(choice__plan__calls=2),
    changed(choice__plan__calls=10**9),
    changed(choice__plan__calls=30.0),
    changed(choice__policy="dicache"),
    changed(choice__policy="step_mask"),
    changed(choice__policy="../../x"),
    changed(choice__target="0x"),
    changed(choice__target="9" * 5000),
    changed(choice__target="5"),
    changed(choice__target="1x"),
    changed(choice__context__sampler="stochastic"),
    changed(choice__context__calls=7),
    changed(architecture="x" * 50_000),
    changed(architecture="\ud800"),
    changed(choice__context__steps=-1),
    changed(choice__context__sampler="__import__"),
    changed(choice__speed=float("nan")),
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[-40:]))
def test_everything_else_is_refused_with_what_to_do(text):
    with pytest.raises(ValueError, match="export it again, or ask who sent it for another file"):
        SharedPlan.from_json(text)


def test_what_somebody_adds_to_a_file_does_not_matter():
    assert SharedPlan.from_json(changed(note="<script>", choice__more=[1, 2, 3])) == SOUND


# -- those of the pack -----------------------------------------------------------------------------------------------

TARGETS = {21: "2.39x", 13: "3.85x"}
SHARED = [f"{model}-dpcache-{count}of50" for model in ("flux", "qwen_image") for count in TARGETS]


def made_of(name: str) -> SharedPlan:
    """A published plan as a file of this pack."""
    model, method, counted = name.split("-")
    count = int(counted.removesuffix("of50"))
    same = [plan for plan in real_plans() if (plan.model, plan.method) == (model, method)]
    (found,) = [plan for plan in same if len(plan.computed) == count]
    whole = Schedule(SCHEDULES[model])
    plan = CallPlan.of(found.computed, whole, whole.sequences[0])
    context = RunContext(SamplerFamily.DETERMINISTIC, 50)
    choice = Choice(context, TARGETS[count], "forecast", TARGETS[count], round(50 / count, 2), 0.0, 0.0, plan)
    return SharedPlan(model, "DPCache (arXiv 2602.22654), for its own forecast", choice)


def test_the_packs_plans_are_the_published_ones():
    assert {path.stem for path in FOLDER.glob("*.json")} >= set(SHARED)
    for name in SHARED:
        assert SharedPlan.from_json((FOLDER / f"{name}.json").read_text(encoding="utf-8")) == made_of(name)


@pytest.mark.parametrize("name", SHARED)
def test_they_compute_what_was_published_on_the_schedule_that_it_was_published_for(name):
    shared, whole = made_of(name), Schedule(SCHEDULES[name.split("-")[0]])
    plan = shared.choice.plan
    count = Target.parse(shared.choice.target, adaptive=True).budget(50, 50, 50)
    (found,) = [p for p in real_plans() if name.startswith(f"{p.model}-{p.method}-") and len(p.computed) == count]
    assert plan.computed(shares_of(whole, whole.sequences[0]), count) == set(found.computed)


def test_the_checker_finds_what_is_wrong(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("check_plans", FOLDER / "check.py")
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    assert check.main([]) == 0
    assert capsys.readouterr().out.count("sound") == len(list(FOLDER.glob("*.json")))
    for number, text in enumerate((SOUND.to_json(), "{", replace(SOUND, architecture="nobody's").to_json())):
        (tmp_path / f"plan_{number}.json").write_text(text, encoding="utf-8")
    (tmp_path / "a b.json").write_text(SOUND.to_json(), encoding="utf-8")
    assert check.main([str(path) for path in tmp_path.iterdir()]) == 3
    told = capsys.readouterr().out
    assert "plan_0.json: sound" in told
    assert "plan_1.json: it is not JSON" in told
    assert "plan_2.json: the pack knows no architecture" in told
    assert "a b.json: its name" in told


def test_without_torch_the_checker_says_what_to_run():
    without_site_packages = [sys.executable, "-I", "-S", str(FOLDER / "check.py")]
    run = subprocess.run(without_site_packages, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (1, "")
    assert "a Python that has torch" in run.stderr
    assert "Traceback" not in run.stderr
