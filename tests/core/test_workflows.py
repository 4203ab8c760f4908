"""What CI runs is named by hash, and may only read."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="the published archive has no CI")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda f: f.name)
def test_actions_are_pinned_by_hash(workflow):
    used = re.findall(r"uses:\s*(\S+)", workflow.read_text(encoding="utf-8"))
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", name)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda f: f.name)
def test_the_token_may_only_read(workflow):
    text = workflow.read_text(encoding="utf-8")
    assert re.search(r"^permissions:\n  contents: read\n", text, re.MULTILINE)
    assert ": write" not in text


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda f: f.name)
def test_installed_tools_have_versions(workflow):
    installed = re.findall(r"pip install (.+)", workflow.read_text(encoding="utf-8"))
    assert [
        line for line in installed if not re.fullmatch(r"(-r \S+|[\w-]+==[\w.]+)( (-r \S+|[\w-]+==[\w.]+))*", line)
    ] == []
