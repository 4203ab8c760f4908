"""A font with Chinese and Japanese letters, so that a browser on a bare Linux shows words and not boxes.

``chromium.py`` brings one beside the browser.  macOS, Windows and desktop systems have their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess

LANGUAGES = ("zh-cn", "zh-tw", "ja")
PACKAGE = "fonts-wqy-microhei"  # 1.6 MB, both kinds of Chinese, and Japanese
HOW = f"`make browser` brings one where apt-get may (as root or by sudo): {PACKAGE}; any other will do"


def has_fonts() -> bool | None:
    """Whether fontconfig knows a font for each of the languages; ``None`` on a system that has no fontconfig."""
    if not shutil.which("fc-list"):
        return None
    found = [subprocess.run(["fc-list", f":lang={name}"], capture_output=True, check=True) for name in LANGUAGES]
    return all(done.stdout.strip() for done in found)


def bring_fonts() -> str:
    """Install a font if there is none, and say what happened."""
    if has_fonts():
        return "Chinese and Japanese letters: there"
    root = [] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (root and not shutil.which("sudo")):
        return f"Chinese and Japanese letters may be boxes in screenshots. {HOW}"
    command = [*root, "apt-get", "install", "-y", "--no-install-recommends", PACKAGE, "fontconfig"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        return f"Chinese and Japanese letters may be boxes in screenshots: {done.stderr.strip().splitlines()[-1:]}"
    return f"Chinese and Japanese letters: {PACKAGE} installed"
