"""When to reuse. A new indicator is one file and one line in ``INDICATORS``."""

from __future__ import annotations

from ..registry import lookup
from .base import Indicator, Stage
from .delta import DeltaMinus, DeltaY

INDICATORS: dict[str, type[Indicator]] = {
    "delta_y": DeltaY,
    "delta_minus": DeltaMinus,
}


def indicator_class(name: str) -> type[Indicator]:
    """The indicator of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(INDICATORS, name, "indicator")


__all__ = ["INDICATORS", "Indicator", "Stage", "indicator_class"]
