"""When to reuse: indicators by the name that settings use; every method's file adds its own."""

from __future__ import annotations

from ..registry import lookup, registering
from .base import Indicator, Stage

INDICATORS: dict[str, type[Indicator]] = {}

indicator = registering(INDICATORS)  # the decorator of a class


def indicator_class(name: str) -> type[Indicator]:
    """The indicator of that name.

    Raises:
        ValueError: there is none; lists the known ones.
    """
    return lookup(INDICATORS, name, "indicator")


__all__ = ["INDICATORS", "Indicator", "Stage", "indicator", "indicator_class"]
