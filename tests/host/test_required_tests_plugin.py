"""What a run of tests says of those that did not run."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = f"""
import sys
sys.path.append({str(Path(__file__).parent)!r})
import pytest
from required_tests_plugin import Kind, Kinds

def pytest_addoption(parser):
    parser.addoption("--require-browser", action="store_true")

def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs one")
    marked = lambda item: item.get_closest_marker("browser")
    kind = Kind("of the front end", marked, "get one", "--require-browser", "no browser")
    config.pluginmanager.register(Kinds([kind]), "kinds")
"""
TESTS = """
import pytest

def test_core():
    pass

@pytest.mark.browser
@pytest.mark.parametrize("n", range(3))
def test_front_end(n):
    {body}
"""
WITHOUT = "pytest.skip('no browser')"
LINE = "NOT RUN: 3 of the tests of the front end (get one)"


@pytest.fixture
def run(tmp_path):
    """``run(body of the browser tests, *arguments)``: exit code and the lines of the output."""

    def run(body, *arguments):
        (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (tmp_path / "pytest.ini").write_text("[pytest]", encoding="utf-8")
        (tmp_path / "test_it.py").write_text(TESTS.format(body=body), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout.strip().splitlines()

    return run


def test_where_tests_are_only_collected_none_is_required(run):
    returned, _ = run(WITHOUT, "--require-browser", "--collect-only")
    assert returned == 0


@pytest.mark.parametrize("processes", [(), ("-n", "2")], ids=["one process", "two"])
@pytest.mark.parametrize(("required", "code"), [((), 0), (("--require-browser",), 1)], ids=["optional", "required"])
def test_skipped_tests_are_named_in_the_last_line(run, processes, required, code):
    returned, lines = run(WITHOUT, *processes, *required)
    assert (returned, lines[-1]) == (code, LINE)
    assert "tests of the front end: 0 passed" in lines


def test_tests_that_ran_are_counted(run):
    code, lines = run("pass", "--require-browser")
    assert code == 0
    assert "tests of the front end: 3 passed" in lines
    assert "NOT RUN" not in lines[-1]


def test_tests_that_were_not_chosen_are_missed_too(run):
    code, lines = run("pass", "--require-browser", "-k", "core")
    assert code == 1
    assert lines[-1] == "NOT RUN: all of the tests of the front end (get one)"


def test_what_is_skipped_for_reasons_of_its_own_is_not_missing(run):
    code, lines = run("pytest.skip('this host has no such node') if n else None", "--require-browser")
    assert code == 0
    assert "NOT RUN" not in lines[-1]


def test_tests_that_failed_did_run_but_none_passed(run):
    code, lines = run("assert n > 0", "--require-browser")
    assert code == 1
    assert "tests of the front end: 2 passed" in lines
