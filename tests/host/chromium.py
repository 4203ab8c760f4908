"""Where a browser for the tests is."""

import os
import shutil
from pathlib import Path


def find_browser() -> str | None:
    """A Chromium or Chrome on this machine, or the one that playwright installed."""
    named = os.environ.get("CHROMIUM_PATH")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    if found := named or next(filter(None, map(shutil.which, names)), None):
        return found
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
