"""How to rebuild a skipped step: predictors by the name that settings use; every method's file adds its own."""

from __future__ import annotations

from ..registry import lookup, registering
from .base import Predictor, Space

PREDICTORS: dict[str, type[Predictor]] = {}

predictor = registering(PREDICTORS)  # the decorator of a class


def predictor_class(name: str) -> type[Predictor]:
    """The predictor of that name.

    Raises:
        ValueError: there is none; lists the known ones.
    """
    return lookup(PREDICTORS, name, "predictor")


__all__ = ["PREDICTORS", "Predictor", "Space", "predictor", "predictor_class"]
