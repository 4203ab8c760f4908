"""A registry is a dict plus a lookup that answers a wrong name with the right ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


def lookup(registry: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """``registry[name]``, or a ``ValueError`` that names what is known."""
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}: write one of {', '.join(sorted(registry))}")
    return registry[name]
