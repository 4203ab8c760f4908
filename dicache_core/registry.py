"""A registry is a dict, a decorator that fills it, and a lookup that answers a wrong name with the right ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Entry = TypeVar("Entry")
Class = TypeVar("Class", bound=type)


def registering(registry: dict[str, Class]) -> Callable[[str], Callable[[Class], Class]]:
    """A decorator ``@...("name")`` that puts a class into ``registry`` under a name, which becomes its ``name``."""

    def named(name: str) -> Callable[[Class], Class]:
        def registered(cls: Class) -> Class:
            cls.name, registry[name] = name, cls
            return cls

        return registered

    return named


def lookup(registry: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """``registry[name]``.

    Raises:
        ValueError: it is not there; names what is.
    """
    if name not in registry:
        raise ValueError(f"unknown {kind} {name!r}: write one of {', '.join(sorted(registry))}")
    return registry[name]
