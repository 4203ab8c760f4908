"""How to rebuild a skipped step. A new predictor is one file and one line in ``PREDICTORS``."""

from __future__ import annotations

from ..registry import lookup
from .base import Predictor, Space
from .corrected import CorrectedLine
from .foca import FoCa
from .hyca import HyCa
from .output import OutputDifference, OutputLine, OutputReuse
from .reuse import Reuse
from .taylor import Taylor1, Taylor2
from .trajectory import TrajectoryAlignment

PREDICTORS: dict[str, type[Predictor]] = {
    "trajectory": TrajectoryAlignment,
    "reuse": Reuse,
    "taylor1": Taylor1,
    "taylor2": Taylor2,
    "foca": FoCa,
    "hyca": HyCa,
    "output_reuse": OutputReuse,
    "output_difference": OutputDifference,
    "output_line": OutputLine,
    "corrected_line": CorrectedLine,
}


def predictor_class(name: str) -> type[Predictor]:
    """The predictor of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(PREDICTORS, name, "predictor")


__all__ = ["PREDICTORS", "Predictor", "Space", "predictor_class"]
