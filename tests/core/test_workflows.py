"""What CI runs is named by hash, and may only read."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="the published archive has no CI")


def test_actions_are_pinned_by_hash():
    for workflow in WORKFLOWS:
        used = re.findall(r"uses:\s*(\S+)", workflow.read_text(encoding="utf-8"))
        assert used, workflow
        assert [name for name in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", name)] == [], workflow


def test_the_token_may_only_read():
    for workflow in WORKFLOWS:
        text = workflow.read_text(encoding="utf-8")
        assert re.search(r"^permissions:\n  contents: read\n", text, re.MULTILINE), workflow
        assert ": write" not in text, workflow


def test_installed_tools_have_versions():
    exact = r"(-r \S+|[\w-]+==[\w.]+)( (-r \S+|[\w-]+==[\w.]+))*"
    for workflow in WORKFLOWS:
        installed = re.findall(r"pip install (.+)", workflow.read_text(encoding="utf-8"))
        assert [line for line in installed if not re.fullmatch(exact, line)] == [], workflow
