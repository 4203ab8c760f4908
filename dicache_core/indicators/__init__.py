"""When to reuse. A new indicator is one file and one line in ``INDICATORS``."""

from __future__ import annotations

from ..registry import lookup
from .base import Indicator, Stage
from .delta import DeltaMinus, DeltaY
from .easycache import EasyCache
from .fbcache import FirstBlock
from .foreseen import Foreseen
from .magcache import MagCache, Magnitudes
from .planned import FixedInterval, StepMask
from .sensitivity import Sensitivity
from .teacache import TeaCache
from .trajectory_error import TrajectoryError

INDICATORS: dict[str, type[Indicator]] = {
    "delta_y": DeltaY,
    "delta_minus": DeltaMinus,
    "trajectory_error": TrajectoryError,
    "foreseen": Foreseen,
    "first_block": FirstBlock,
    "teacache": TeaCache,
    "easycache": EasyCache,
    "magcache": MagCache,
    "magnitudes": Magnitudes,
    "sensitivity": Sensitivity,
    "fixed": FixedInterval,
    "mask": StepMask,
}


def indicator_class(name: str) -> type[Indicator]:
    """The indicator of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(INDICATORS, name, "indicator")


__all__ = ["INDICATORS", "Indicator", "Stage", "indicator_class"]
