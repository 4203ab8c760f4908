"""The examples of docs/building.md in a copy of the checkout: a policy, a family and a preset by what the page says.

What was edited by hand is listed, the generators make the rest, and the tests of the copy pass.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from core.building import EXAMPLES, MOST_FILES, example
from layout import LEFT_OUT, REPO
from provision import ONE_THREAD
from test_targets import digests, environment_of_a_shell

WEIGHTS = "weights"  # of the testbed, which are only read
REGISTRY = re.compile(r"\b(POLICIES|NAMED|PRESETS|MENU|INDICATORS|PREDICTORS|pages|settings_of)\b")
GENERATED = {  # by `make pages`, `make models` and tests/golden/make.py
    "docs/methods.md", "docs/models.md", "locales/en/methods.json", "locales/en/nodeDefs.json",
    "locales/ja/nodeDefs.json", "locales/zh/nodeDefs.json", "tests/golden/calibration.json", "tests/golden/run.json",
    "tests/golden/schemas.json", "tests/golden/testbed.json", "tests/golden/toy.json",
    "tools/bench/results/families.json", "web/docs/DiCacheApply.md", "web/docs/DiCacheApply/en.md",
    "web/docs/DiCacheApply/ja.md", "web/docs/DiCacheApply/zh.md", "web/docs/DiCachePolicy.md",
    "web/docs/DiCachePolicy/en.md", "web/docs/DiCachePolicy/ja.md", "web/docs/DiCachePolicy/zh.md", "web/names.js",
}  # fmt: skip


@pytest.fixture(scope="module")
def checkout(host, tmp_path_factory):
    folder = tmp_path_factory.mktemp("building") / "checkout"
    shutil.copytree(REPO, folder, ignore=shutil.ignore_patterns(*LEFT_OUT, WEIGHTS))
    (folder / "tests" / "testbed" / WEIGHTS).symlink_to(REPO / "tests" / "testbed" / WEIGHTS)
    yield folder
    shutil.rmtree(folder)


def going_by_a_registry(checkout: Path) -> list[str]:
    """The tests without a ComfyUI that read a registry, or words and links; the new policy's own among them."""
    tests = [*(checkout / "tests" / "core").glob("test_*.py"), checkout / "tests" / "golden" / "test_golden_toy.py"]
    always = {"test_golden_toy.py", "test_method_late.py", "test_words.py", "test_links.py"}
    chosen = [file for file in tests if file.name in always or REGISTRY.search(file.read_text(encoding="utf-8"))]
    return [str(file.relative_to(checkout)) for file in sorted(chosen)]


@pytest.mark.one_host
@pytest.mark.timeout(1800)
def test_a_policy_a_family_and_a_preset_take_the_files_that_the_page_shows(checkout, host):
    def run(*arguments: str) -> str:
        environment = {**environment_of_a_shell(), "DICACHE_TEST_COMFY": host.comfy, **dict([ONE_THREAD])}
        environment["DICACHE_SHOWN"] = "tools/bench/results/families.json" if "tests/patchers" in arguments else ""
        command = [sys.executable, "tests/host/run.py", *arguments]
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        return done.stdout

    by_hand = set()
    for name in EXAMPLES:
        before = digests(checkout)
        for block in example(name):
            block.add_to(checkout)
        files = {file for file, digest in digests(checkout).items() if before.get(file) != digest}
        print(f"{name}: {len(files)} files by hand: {', '.join(sorted(files))}")
        assert len(files) <= MOST_FILES[name]
        by_hand |= files
    written = digests(checkout)
    run("--at-hand", "--script", "tools/pages.py")
    run("--script", "tests/web/make_locales.py")
    run("--script", "tests/golden/make.py")
    run("--at-hand", *going_by_a_registry(checkout), "--tier", "fast", "-q", "-n", "0", "-p", "no:cacheprovider")
    assert "passed" in run("tests/patchers", "-q", "-n", "0", "-k", "ladder", "-p", "no:cacheprovider")
    run("--script", "tools/bench/models_table.py")
    made = {file for file, digest in digests(checkout).items() if written.get(file) != digest}
    assert made <= GENERATED - by_hand
    for page, line in {
        "web/docs/DiCachePolicy/ja.md": "| *late* | スケジュールの半分が過ぎている |",
        "web/docs/DiCacheApply.md": "| *draft* | up to 3/4 of the steps (4x) | first looks |",
        "web/names.js": '"late": "Late · judges every step"',
        "docs/methods.md": "| `late` | judges every step |",
        "docs/models.md": "| Ladder |",
        "tests/golden/toy.json": '"preset draft"',
        "tests/golden/testbed.json": '"late"',
        "locales/zh/nodeDefs.json": "draft：最多 3/4 的步骤（4x）",
    }.items():
        assert line in (checkout / page).read_text(encoding="utf-8"), page
