"""What the pack's nodes have in common: where they are found, and the types of their own sockets."""

from __future__ import annotations

from typing import TypeVar

from comfy_api.latest import io

CATEGORY = "model/acceleration"
ALIASES = ["dicache", "cache", "speed up", "accelerate", "teacache", "faster"]

Statistics = io.Custom("DICACHE_STATS")  # a dicache_core.RunLog
PolicyType = io.Custom("DICACHE_POLICY")  # a dicache_core.Policy

NUMBER = (int, float)
T = TypeVar("T")


def checkable(value: T, kind: type | tuple[type, ...]) -> T | None:
    """A widget's value for ``validate_inputs``; ``None`` where there is nothing to check.

    The host hands over ``None`` for what another node will make, and as it is what it could not convert: that it has
    refused by then with a message of its own, and what the check would say of it hides that.
    """
    return value if isinstance(value, kind) else None
