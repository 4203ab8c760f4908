"""When to reuse. A new indicator is one file and one line in ``INDICATORS``."""

from __future__ import annotations

from ..indicator import Indicator, Stage
from ..known.easycache import EasyCache
from ..known.fastercache import FasterCache
from ..known.fbcache import FirstBlock
from ..known.magcache import MagCache
from ..known.meancache import ShortestPath
from ..known.planned import FixedInterval, StepMask
from ..known.procache import ProCache
from ..known.recorder import Recorder
from ..known.seacache import SeaCache
from ..known.sensitivity import Sensitivity
from ..known.smoothcache import SmoothCache
from ..known.spectrum import GrowingWindow
from ..known.teacache import TeaCache
from ..known.worldcache import WorldCache
from ..registry import lookup
from .delta import DeltaMinus, DeltaY
from .foreseen import Foreseen
from .trajectory_error import TrajectoryError

INDICATORS: dict[str, type[Indicator]] = {
    "delta_y": DeltaY,
    "delta_minus": DeltaMinus,
    "trajectory_error": TrajectoryError,
    "foreseen": Foreseen,
    # Known methods.
    "first_block": FirstBlock,
    "teacache": TeaCache,
    "easycache": EasyCache,
    "magcache": MagCache,
    "recorder": Recorder,
    "smoothcache": SmoothCache,
    "procache": ProCache,
    "shortest_path": ShortestPath,
    "seacache": SeaCache,
    "sensitivity": Sensitivity,
    "fixed": FixedInterval,
    "mask": StepMask,
    "worldcache": WorldCache,
    "growing_window": GrowingWindow,
    "fastercache": FasterCache,
}


def indicator_class(name: str) -> type[Indicator]:
    """The indicator of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(INDICATORS, name, "indicator")


__all__ = ["INDICATORS", "Indicator", "Stage", "indicator_class"]
