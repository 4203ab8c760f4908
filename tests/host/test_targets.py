"""Every target of the Makefile runs: in its shortest form, in a copy of the checkout, and what it writes is looked at.

``make -n`` says what a target starts, and ``targets_child.py`` runs that; targets that run tests only collect them.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from layout import LEFT_OUT, REPO
from provision import ONE_THREAD

MAKEFILE = (REPO / "Makefile").read_text(encoding="utf-8")
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
COLLECT = "--collect-only -q tests/core/test_contract.py"  # of the lowest tier, and so of every one


@dataclass(frozen=True)
class Ran:
    """A target that was run in ``checkout``, and what it printed."""

    checkout: Path
    said: str

    def written(self, name: str) -> object:
        """The JSON that its shortest form wrote."""
        return json.loads((self.checkout / "output" / "quick" / name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Target:
    """A row of the table.

    Attributes:
        arguments: ``ARGS`` of its shortest form.
        look: raises where what it wrote or said is not what it is for.
    """

    arguments: str
    look: Callable[[Ran], None]


def committed(name: str) -> object:
    """What the whole bench wrote, which is on a page."""
    return json.loads((REPO / "tools" / "bench" / "results" / name).read_text(encoding="utf-8"))


def says(*words: str) -> Callable[[Ran], None]:
    """What is printed has these words in it."""

    def look(ran: Ran) -> None:
        for word in words:
            assert word in ran.said

    return look


def rows_as_committed(name: str, of: Callable = lambda found: found) -> Callable[[Ran], None]:
    """There are rows, and they have the columns that the page's own have."""

    def look(ran: Ran) -> None:
        rows = of(ran.written(name))
        columns = {frozenset(row) for row in of(committed(name))}
        assert rows
        assert all(any(set(row) <= known for known in columns) for row in rows)

    return look


def speed_was_measured(ran: Ran) -> None:
    found = ran.written("speed-cpu.json")
    assert found["quick"]
    assert [record["architecture"] for record in found["architectures"]] == ["flux", "wan", "sdxl"]
    for record in found["architectures"]:
        assert {name for costs in record["calls"] for name in costs["methods"]} == {"dicache", "forecast"}
        assert {peer["skipped"] for name, peer in record["peers"].items() if name != "baseline"} == {1}
    assert "| ComfyUI's EasyCache |" in ran.said


def blocks_were_compiled(ran: Ran) -> None:
    (row,) = ran.written("compile.json").values()
    assert set(row) == set(next(iter(committed("compile.json").values())))
    assert row["graphs"] > 0


def risk_was_told(ran: Ran) -> None:
    found = ran.written("risk.json")
    (part,) = set(found) - {"images_of"}
    assert set(found[part]) == set(committed("risk.json")[part])
    assert found["images_of"]


def own_model_was_measured(ran: Ran) -> None:
    folder = ran.checkout / "output" / "quick" / "real"
    found = json.loads((folder / "bench-real.json").read_text(encoding="utf-8"))
    assert [run["way"] for run in found["runs"]] == [
        "without", "fidelity", "balanced", "fast", "published", "easycache", "paper", "fewer",
    ]  # fmt: skip
    assert (folder / "sheet.jpg").read_bytes().startswith(b"\xff\xd8")


def hard_images_were_measured(ran: Ran) -> None:
    (row,) = ran.written("hard.json")["rows"]
    for way in ("own", "paper", "fewer"):
        assert row[way]["psnr_mean"] >= row[way]["psnr_six"] >= row[way]["psnr_worst"] > 0
    assert row["own"]["calls"] < row["calls"]


def tiny_model_was_held_against_real_ones(ran: Ran) -> None:
    (row,) = ran.written("validity.json")["rows"]
    assert set(row) == set(committed("validity.json")["rows"][0])
    assert {found["calls"] for found in row["methods"].values()} == {6.0}


def crowd_was_served(ran: Ran) -> None:
    found = ran.written("soak.json")
    assert set(found) == set(committed("soak.json"))
    assert found["succeeded"] + found["cancelled"] == found["prompts"]
    assert not found["failed"]
    assert not found["different"]


def demo_was_shown(ran: Ran) -> None:
    folder = ran.checkout / "output" / "quick" / "demo"
    runs = json.loads((folder / "report.json").read_text(encoding="utf-8"))["runs"]
    assert [run["way"] for run in runs] == ["without", "published", "balanced"]
    assert is_image(folder / "side_by_side-flux.png")


def picture_was_made(ran: Ran) -> None:
    assert is_image(ran.checkout / "output" / "quick" / "same_time.png")


def pictures_were_made(ran: Ran) -> None:
    """But where there is no browser, which is said."""
    folder = ran.checkout / "output" / "quick"
    if "wrote " not in ran.said:
        assert "No browser" in ran.said, ran.said[-4000:]
        return
    assert all(is_image(folder / name) for name in ("live_view.png", "strip.png", "banner.png"))
    (card,) = folder.glob("*.jpg")
    assert card.read_bytes().startswith(b"\xff\xd8")


def plan_was_searched(ran: Ran) -> None:
    (row,) = ran.written("plans.json")["rows"]
    assert [len(row[plan]) for plan in ("bits", "own_bits")] == [12, 12]
    assert [row[plan].count("0") for plan in ("bits", "own_bits")] == [6, 6]
    assert row["searched_psnr"] >= row["own_searched_psnr"] > 10


def plans_were_judged(ran: Ran) -> None:
    found = ran.written("tuned_plans.json")
    assert set(found) == set(committed("tuned_plans.json"))
    (row,) = found["rows"]
    assert set(row) == set(committed("tuned_plans.json")["rows"][0])
    assert row["own"]["pooled"] > 10
    assert row["full_runs"] <= 6


def is_image(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def page_of_models_was_made(ran: Ran) -> None:
    found = json.loads((ran.checkout / "tools" / "bench" / "results" / "families.json").read_text(encoding="utf-8"))
    before = committed("families.json")
    assert [row["name"] for row in found["families"]] == [row["name"] for row in before["families"]]
    page = (ran.checkout / "docs" / "models.md").read_text(encoding="utf-8")
    assert all(f"| {row['name']}" in page for row in found["families"])


def decisions_were_compared(ran: Ran) -> None:
    assert re.search(r"^0\.30\.0 +\d+ +0 .* yes *$", ran.said, re.MULTILINE)


def browser_was_looked_for(ran: Ran) -> None:
    assert "browser" in ran.said


TABLE = {
    "help": Target("", lambda ran: all(name in ran.said for name in TABLE)),
    # First, as it chooses the attention before ComfyUI starts.
    "bench-compile": Target("--quick", blocks_were_compiled),
    "bench-speed": Target("--quick", speed_was_measured),
    "bench-quality": Target("--quick", rows_as_committed("quality.json")),
    "bench-parts": Target("--quick", rows_as_committed("parts.json")),
    "bench-settings": Target("--quick", rows_as_committed("settings.json", lambda found: found["rows"])),
    "bench-hard": Target("--quick", hard_images_were_measured),
    "bench-validity": Target("--quick", tiny_model_was_held_against_real_ones),
    "bench-searched": Target("--quick", plan_was_searched),
    "bench-noise": Target("--quick", rows_as_committed("noise.json", lambda found: found["rows"])),
    "bench-tune": Target("--quick", rows_as_committed("tune.json", lambda found: found["rows"])),
    "bench-plans": Target("--quick", plans_were_judged),
    "bench-risk": Target("--quick", risk_was_told),
    "bench-real": Target("--quick", own_model_was_measured),
    "models": Target("-q -k 'test_variants and flux'", page_of_models_was_made),
    "demo": Target("--quick", demo_was_shown),
    "picture": Target("--quick", picture_was_made),
    "pictures": Target("--quick", pictures_were_made),
    "soak": Target("--quick", crowd_was_served),
    "browser": Target("--quick", browser_was_looked_for),
    "test": Target(COLLECT, says("tests collected")),
    "test-fast": Target(COLLECT, says("tests collected")),
    "test-all": Target(COLLECT, says("tests collected")),
    "test-web": Target("--collect-only -q", says("web/test_strip.py", "tests collected")),
    "test-ray": Target("--collect-only -q", says("host/test_over_ray.py", "tests collected")),
    "test-hosts": Target("--quick", decisions_were_compared),
    "lint": Target(COLLECT, says("All checks passed", "already formatted", "core/test_contract.py")),
    "pages": Target("", says("nothing has changed")),
    "format": Target("", says("All checks passed", "files left unchanged")),
    "clean": Target("", lambda ran: not (ran.checkout / "output").exists()),
}
NOT_BY_PYTHON = ("help", "clean")  # run by make itself, at the end
MAY_FAIL = {"browser", "pictures"}  # where there is none


def targets() -> set[str]:
    """Of the Makefile."""
    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    return set(phony.split())


def named(page: str) -> set[str]:
    """The targets that a page names: behind ``make``, or alone in backticks beside another one."""
    behind_make = set(re.findall(r"(?:`|^|\s)make ([a-z]+(?:-[a-z]+)*)", page))
    alone = set(re.findall(r"`((?:bench|test)-[a-z]+)`", page))
    return {name for name in behind_make if name in targets() or f"`make {name}" in page} | alone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_that_a_page_names_has_a_row(page):
    assert named(page.read_text(encoding="utf-8")) <= set(TABLE)


def test_every_target_of_the_makefile_has_a_row_and_no_other():
    assert set(TABLE) == targets()


def test_pages_name_targets():
    """That names are found at all."""
    found = set().union(*(named(page.read_text(encoding="utf-8")) for page in PAGES))
    assert {"test", "test-fast", "demo", "bench-speed", "bench-quality", "bench-settings", "soak"} <= found
    assert named("`make nothing-of-ours`") == {"nothing-of-ours"}


def environment_of_a_shell() -> dict[str, str]:
    """This process's, without what a make above it tells a make below it (its level, its flags)."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")}


def started_by(make: str, checkout: Path, name: str) -> list[list[str]]:
    """What a target starts, as ``targets_child.py`` takes it."""
    lines = subprocess.run(
        [make, "-n", name, f"ARGS={TABLE[name].arguments}", "PYTHON=python3"],
        cwd=checkout, env=environment_of_a_shell(), capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    commands = []
    for line in lines:
        words = shlex.split(line)
        while "=" in words[0]:
            words.pop(0)  # of an environment: DICACHE_SHOWN
        python, script, *arguments = words
        assert python == "python3"
        commands.append(arguments if script == "tests/host/run.py" else ["--script", script, *arguments])
    return commands


def digests(checkout: Path) -> dict[str, str]:
    """Of every file but those under output."""
    return {
        str(path.relative_to(checkout)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in checkout.rglob("*")
        if path.is_file() and not {"output", "__pycache__", ".ruff_cache", ".pytest_cache"} & set(path.parts)
    }


@pytest.fixture(scope="module")
def ran(host, tmp_path_factory):
    """``ran(target)``: each was run once, in a copy of the checkout; the ones that make runs itself come last."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("needs make")
    folder = tmp_path_factory.mktemp("targets")
    checkout = folder / "checkout"
    shutil.copytree(REPO, checkout, ignore=shutil.ignore_patterns(*LEFT_OUT))
    before = digests(checkout)
    jobs, results = folder / "jobs.json", folder / "results.json"
    commands = {name: started_by(make, checkout, name) for name in TABLE if name not in NOT_BY_PYTHON}
    jobs.write_text(json.dumps(commands), encoding="utf-8")
    environment = {**environment_of_a_shell(), "DICACHE_TEST_COMFY": host.comfy, **dict([ONE_THREAD])}
    environment |= {"DICACHE_SHOWN": "tools/bench/results/families.json"}
    child = [sys.executable, "tests/host/targets_child.py", str(jobs), str(results)]
    done = subprocess.run(child, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    assert set(found) == set(commands), done.stdout[-2000:] + done.stderr[-4000:]
    after = digests(checkout)
    changed = {name for name in before | after if before.get(name) != after.get(name)}

    def of(name: str) -> Ran:
        if name in NOT_BY_PYTHON:
            inherited = environment_of_a_shell()
            by_make = subprocess.run(
                [make, name], cwd=checkout, env=inherited, capture_output=True, text=True, check=True
            )
            return Ran(checkout, by_make.stdout)
        if name not in MAY_FAIL:
            assert found[name]["status"] == 0, found[name]["said"][-4000:]
        return Ran(checkout, found[name]["said"])

    of.changed = changed
    yield of
    shutil.rmtree(folder)


@pytest.mark.one_host
@pytest.mark.timeout(1200)  # the first one waits for all
@pytest.mark.parametrize("name", TABLE)
def test_a_target_runs_and_does_what_it_is_for(ran, name):
    found = ran(name)
    assert TABLE[name].look(found) is not False


@pytest.mark.one_host
def test_shortest_forms_change_no_page_and_no_result(ran):
    """But for the page of models, which has no shortest form of its own."""
    assert ran.changed <= {"tools/bench/results/families.json", "docs/models.md"}
