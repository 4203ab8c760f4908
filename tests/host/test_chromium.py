"""Getting a browser: the first way that gives a working one, and what is said of the others."""

import os

import chromium
import pytest

pytestmark = pytest.mark.one_host


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without a browser: ``machine(path)`` puts one there."""
    there = []
    monkeypatch.setattr(chromium, "working_browser", lambda: there[-1] if there else None)
    return there.append


def not_here():
    raise chromium.NotHereError("there is no apt-get")


def broken():
    raise OSError("no connection")


def nothing():
    pass


def test_a_browser_that_is_there_is_taken(machine):
    machine("/usr/bin/chromium")
    assert chromium.bring_browser({"never asked": broken}) == "/usr/bin/chromium"


def test_the_first_way_that_gives_a_working_one(machine, capsys):
    ways = {"apt": not_here, "download": broken, "empty": nothing, "good": lambda: machine("/opt/it"), "late": broken}
    assert chromium.bring_browser(ways) == "/opt/it"
    said = capsys.readouterr().err
    for line in (
        "apt: there is no apt-get",
        "download: no connection",
        "empty: went through, but",
        "good: there after",
    ):
        assert line in said
    assert "late" not in said


def test_without_any_the_command_fails_and_says_what_to_do(machine, monkeypatch, capsys):
    monkeypatch.setattr(chromium, "bring_browser", lambda: None)
    assert chromium.main([]) == 1
    assert "CHROMIUM_PATH" in capsys.readouterr().err


def test_a_command_that_fails_shows_its_end(capfd):
    with pytest.raises(Exception, match=r"ended with 3:\n  the reason"):
        chromium._run(
            ["python3" if os.name != "nt" else "python", "-c", "print('the reason'); raise SystemExit(3)"],
            dict(os.environ),
        )


def test_a_placeholder_is_no_browser(tmp_path, monkeypatch):
    """Some systems have a command of that name that only says what to install."""
    assert chromium.version_of(str(tmp_path / "chromium")) is None
