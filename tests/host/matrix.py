"""Run the tests that touch ComfyUI against every known version: ``make test-hosts [ARGS="0.16.3"]``.

Prints a table: version, tests passed and failed, and whether the cache decided as on the newest version.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from provision import HOSTS, NEWEST, OLDEST, ONE_THREAD, REPO, ProvisionError, environment_for, provision

TESTS = ["tests/host", "tests/patchers", "tests/pack_nodes"]
SIDE_BY_SIDE = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder"]
QUICK = ["tests/host/test_decisions.py", "-k", "flux"]  # what ``--quick`` runs, on the newest version


@dataclass
class Result:
    """What one version did."""

    version: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    decisions: dict | None

    def line(self, newest: "Result") -> tuple[str, ...]:
        same = "-" if not self.decisions or not newest.decisions else self.decisions == newest.decisions
        equal = {True: "yes", False: "NO"}.get(same, "-")
        return (self.version, str(self.passed), str(self.failed), str(self.skipped), f"{self.seconds:.0f}", equal)


def run_host(version: str, folder: Path, tests: list[str]) -> Result:
    """Provision ``version``, run ``tests``, arguments of pytest, and read what they wrote."""
    host = provision(version)
    report, decisions = folder / f"{version}.xml", folder / f"{version}.json"
    for stale in (report, decisions):
        stale.unlink(missing_ok=True)
    environment = environment_for(host) | {"DICACHE_DECISIONS": str(decisions)}
    environment.setdefault(*ONE_THREAD)
    command = [host.python, "-m", "pytest", "-c", "tests/pytest.ini", "--rootdir", "tests", "-q", "--require-host"]
    if version not in (NEWEST, OLDEST):
        command += ["-m", "not ray and not one_host"]  # Ray would be a quarter of a gigabyte for each of them
    command += [f"--junitxml={report}", *tests]
    print(f"\n=== ComfyUI {version} ===", flush=True)
    began = time.monotonic()
    code = subprocess.run(command, cwd=REPO, env=environment, check=False).returncode
    seconds = time.monotonic() - began
    if not report.is_file():
        return Result(version, 0, 1, 0, seconds, None)  # pytest itself did not come up; it said why
    suite = ElementTree.parse(report).getroot().find("testsuite").attrib
    failed, skipped = int(suite["failures"]) + int(suite["errors"]), int(suite["skipped"])
    passed = int(suite["tests"]) - failed - skipped
    found = json.loads(decisions.read_text(encoding="utf-8")) if decisions.is_file() else None
    return Result(version, passed, failed or int(code != 0), skipped, seconds, found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="*", default=[], help=f"of {', '.join(HOSTS)}; default all")
    parser.add_argument("--pytest", default="", help="more arguments for pytest")
    parser.add_argument("--quick", action="store_true", help="the newest version, one test, to see that it runs")
    options = parser.parse_args()
    tests = QUICK if options.quick else [*SIDE_BY_SIDE, *(path for path in TESTS if (REPO / path).is_dir())]
    folder = REPO / "output" / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    asked = [NEWEST] if options.quick else options.versions or HOSTS
    versions = sorted(asked, key=lambda v: [int(n) for n in v.split(".")])
    if NEWEST not in versions:
        versions.append(NEWEST)  # the others are compared with it
    try:
        results = [run_host(version, folder, [*tests, *shlex.split(options.pytest)]) for version in versions]
    except ProvisionError as error:
        print(error, file=sys.stderr)
        return 1
    lines = [("ComfyUI", "passed", "failed", "skipped", "seconds", "decisions equal to the newest")]
    lines += [result.line(results[-1]) for result in results]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    return int(any(result.failed or result.line(results[-1])[-1] != "yes" for result in results))


if __name__ == "__main__":
    sys.exit(main())
