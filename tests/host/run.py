"""Run pytest, or something else, with the Python of a real ComfyUI.

``python3 tests/host/run.py [--host 0.30.0] [pytest arguments]``, ``run.py --script file.py [...]``,
``run.py --module ruff [...]``.
"""

import argparse
import os
import subprocess
import sys

from provision import ONE_THREAD, REPO, ProvisionError, at_hand, environment_for, provision


def main() -> int:
    options, command = parsed(sys.argv[1:])
    try:
        host = at_hand() if options.at_hand and not options.host else provision(options.host)
    except (ProvisionError, KeyboardInterrupt) as stop:
        print(stop or "stopped", file=sys.stderr)
        return 1
    environment = environment_for(host)
    if not options.script:
        environment.setdefault(*ONE_THREAD)
    process = subprocess.Popen([host.python, *command], cwd=REPO, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the child got it too and is cleaning up


def parsed(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """What was asked for, and what Python is to be given for it: a file or ``-m`` and a module, with its arguments."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    version = os.environ.get("DICACHE_TEST_HOST")
    parser.add_argument("--host", default=version, help="ComfyUI version (default: yours, else the newest known)")
    parser.add_argument("--at-hand", action="store_true", help="fetch no ComfyUI: without one, tests with torch alone")
    parser.add_argument("--script", help="run this Python file instead of pytest")
    parser.add_argument("--module", help="run this Python module instead of pytest")
    options, rest = parser.parse_known_args(arguments)
    if options.script:
        return options, [options.script, *rest]
    if options.module:
        return options, ["-m", options.module, *rest]
    everything = [] if any(argument.startswith("tests") for argument in rest) else ["tests"]
    return options, ["-m", "pytest", "-c", "tests/pytest.ini", "--rootdir", "tests", *everything, *rest]


if __name__ == "__main__":
    sys.exit(main())
