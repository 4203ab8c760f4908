"""Room for the frames of a sampling run: where they happen to lie in memory is not to cost anything.

CPython keeps the frames of calls in chunks of 16 KiB, some 45 of a model's.  Where a call crosses the end of a chunk,
Python up to 3.12, and 3.13 and 3.14 before March 2026, fetches the next one from the system and gives it back when the
call returns (https://github.com/python/cpython/issues/142183).  An end among the functions of a block is crossed many
times in every block of every step.  How deep a run is called, and so where the ends are, is chance; each wrapper around
the model or a block moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SLOTS = 2**14  # a frame that asks for 128 KiB gets a chunk of 256, and leaves the other half to the calls inside of it


def with_room(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, inside of which some 350 frames of a model's fit into one chunk."""
    return function(*args, **kwargs)


with_room.__code__ = with_room.__code__.replace(co_stacksize=SLOTS)
