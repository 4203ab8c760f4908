"""The pack opens no connection, starts no process, and writes nowhere but where its plot library keeps its fonts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("reach_child.py")


@pytest.fixture(scope="module")
def events(host, tmp_path_factory):
    base = tmp_path_factory.mktemp("reach")
    fonts = tmp_path_factory.mktemp("matplotlib")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": str(fonts)}
    done = subprocess.run(
        [sys.executable, str(CHILD), host.comfy, str(base)],
        capture_output=True, text=True, timeout=280, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [(event, what) for event, what in json.loads(done.stdout.splitlines()[-1]) if str(fonts) not in what]


def test_no_connection(events):
    assert [e for e in events if e[0].startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib."))] == []


def test_no_process_and_no_pickle(events):
    assert [e for e in events if e[0].startswith(("subprocess.", "os.", "pickle.")) and "exec" in e[0]] == []
    assert [e for e in events if e[0] in ("subprocess.Popen", "os.system", "os.posix_spawn", "pickle.find_class")] == []


def test_nothing_is_written(events):
    changing = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.truncate")
    written = [e for e in events if (e[0] in changing or e[0].startswith("shutil.")) and os.devnull not in e[1]]
    assert written == []
