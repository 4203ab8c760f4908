"""Run pytest, or something else, with the Python of a real ComfyUI.

``python3 tests/host/run.py [--host 0.30.0] [pytest arguments]``, ``run.py --script file.py [...]``,
``run.py --module ruff [...]``.
"""

import argparse
import os
import subprocess
import sys

from provision import ONE_THREAD, REPO, ProvisionError, environment_for, provision


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    version = os.environ.get("DICACHE_TEST_HOST")
    parser.add_argument("--host", default=version, help="ComfyUI version (default: yours, else the newest known)")
    parser.add_argument("--script", help="run this Python file instead of pytest")
    parser.add_argument("--module", help="run this Python module instead of pytest")
    options, rest = parser.parse_known_args()
    try:
        host = provision(options.host)
    except (ProvisionError, KeyboardInterrupt) as stop:
        print(stop or "stopped", file=sys.stderr)
        return 1
    if options.script:
        command = [options.script]
    elif options.module:
        command = ["-m", options.module]
    else:
        command = ["-m", "pytest", "-c", "tests/pytest.ini", "--rootdir", "tests"]
        if not any(argument.startswith("tests") for argument in rest):
            command.append("tests")
    environment = environment_for(host)
    if not options.script:
        environment.setdefault(*ONE_THREAD)
    process = subprocess.Popen([host.python, *command, *rest], cwd=REPO, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the child got it too and is cleaning up


if __name__ == "__main__":
    sys.exit(main())
