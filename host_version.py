"""What ComfyUI is needed, said before anything is imported that an older one lacks."""

from __future__ import annotations

import logging
import re

OLDEST = "0.16.3"  # as pyproject.toml's requires-comfyui

log = logging.getLogger("dicache")


def say_if_older() -> None:
    """One line in the log if this ComfyUI is older than :data:`OLDEST`."""
    try:
        from comfyui_version import __version__ as found
    except ModuleNotFoundError:  # the first versions had no such file
        found = "without a version"
    if _numbers(found) < _numbers(OLDEST):
        log.warning(
            "ComfyUI-DiCache needs ComfyUI %s or newer, this one is %s: nodes may be missing or fail. Update ComfyUI.",
            OLDEST,
            found,
        )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
