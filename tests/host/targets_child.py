"""What ``make`` starts, one command after the other in this one process: ``python targets_child.py JOBS RESULTS``.

JOBS is a JSON of ``name -> commands``, each what stands behind ``tests/host/run.py`` on a line of ``make -n``.  For all
of them there is one ComfyUI in this process and one server, as starting them is most of what each would take.
"""

import contextlib
import io
import json
import logging
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
TESTS = REPO / "tests"
sys.path.extend([str(TESTS), str(HERE)])
import comfy_server  # noqa: E402
import inprocess  # noqa: E402
import pytest  # noqa: E402
from layout import base_directory  # noqa: E402
from run import parsed  # noqa: E402

OWN = [
    str(REPO / "tools" / "bench"),
    str(REPO / "tools" / "demo"),
    str(REPO / "tools" / "real"),
    str(TESTS),
]  # modules from here are loaded anew by every command


class SharedServer:
    """In place of ``ComfyServer``: the first one that was started serves all, until ``close``."""

    start: Callable[..., comfy_server.ComfyServer] = comfy_server.ComfyServer
    running: comfy_server.ComfyServer | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.arguments = args, kwargs

    def __enter__(self) -> comfy_server.ComfyServer:
        if SharedServer.running is None:
            args, kwargs = self.arguments
            SharedServer.running = SharedServer.start(*args, **kwargs).__enter__()
        return SharedServer.running

    def __exit__(self, *_exception: object) -> None: ...

    @classmethod
    def close(cls) -> None:
        if cls.running is not None:
            cls.running.__exit__()


def share(folder: Path) -> None:
    """One ComfyUI for all that ask for one."""
    started, ordinary_start, ordinary_run = [], inprocess.start, subprocess.run

    def start(path: Path, _base: Path) -> inprocess.Comfy:
        if not started:
            started.append(ordinary_start(path, base_directory(folder)))
        return started[0]

    def run(command: Any, *args: Any, env: dict[str, str] | None = None, **kwargs: Any) -> Any:
        if list(command[1:3]) != ["-m", "pytest"]:
            return ordinary_run(command, *args, env=env, **kwargs)
        with changed_environment(env or {}):
            return subprocess.CompletedProcess(command, pytest.main([*command[3:]]))

    inprocess.start, subprocess.run, comfy_server.ComfyServer = start, run, SharedServer


@contextlib.contextmanager
def changed_environment(wanted: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def as_in_a_process_of_its_own(arguments: list[str]) -> Iterator[None]:
    """Path, arguments and the modules of benches and demo as a new process has them, and put back afterwards."""
    path, argv = list(sys.path), sys.argv
    kept = {"inprocess", "comfy_server", "layout", "provision", "testbed"}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] not in kept and name != "__main__" and file.startswith(tuple(OWN)):
            del sys.modules[name]
    sys.argv = arguments
    try:
        yield
    finally:
        sys.path[:], sys.argv = path, argv
        logging.disable(logging.NOTSET)


def run_command(arguments: list[str]) -> int:
    """What run.py starts for these ``arguments``; its exit status."""
    _, command = parsed(arguments)
    if command[:2] == ["-m", "pytest"]:
        with as_in_a_process_of_its_own(["pytest"]):
            return int(pytest.main(command[2:]))
    if command[0] == "-m":
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        print(done.stdout, done.stderr)
        return done.returncode
    with as_in_a_process_of_its_own(command):
        sys.path.insert(0, str(Path(command[0]).resolve().parent))
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def run_target(commands: list[list[str]]) -> dict:
    """Every command of a target up to one that fails: exit status, and what was printed."""
    said, status = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for arguments in commands:
            try:
                status = run_command(arguments)
            except Exception:
                status = 1
                traceback.print_exc()
            if status:
                break
    return {"status": status, "said": said.getvalue()}


def main() -> None:
    jobs, results = (Path(argument) for argument in sys.argv[1:3])
    share(results.with_suffix(""))
    found = {}
    try:
        for name, commands in json.loads(jobs.read_text(encoding="utf-8")).items():
            found[name] = run_target(commands)
            results.write_text(json.dumps(found, indent=1), encoding="utf-8")
    finally:
        SharedServer.close()


if __name__ == "__main__":
    main()
