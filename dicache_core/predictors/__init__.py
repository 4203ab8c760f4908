"""How to rebuild a skipped step. A new predictor is one file and one line in ``PREDICTORS``."""

from __future__ import annotations

from ..registry import lookup
from .base import Predictor, Space
from .reuse import Reuse
from .trajectory import TrajectoryAlignment

PREDICTORS: dict[str, type[Predictor]] = {
    "trajectory": TrajectoryAlignment,
    "reuse": Reuse,
}


def predictor_class(name: str) -> type[Predictor]:
    """The predictor of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(PREDICTORS, name, "predictor")


__all__ = ["PREDICTORS", "Predictor", "Space", "predictor_class"]
