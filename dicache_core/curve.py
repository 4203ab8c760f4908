"""MagCache's calibrated curve: how one is recorded, and how it is written down."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from .config import CacheConfig
from .names import display_name
from .statistics import RunStatistics

LARGEST_FILE = 65536  # bytes; a curve of 1000 steps takes about 20 kB
LARGEST_RATIO = 1e6  # a residual grows a few times from one step to the next
NEVER = 1e-30  # a threshold that nothing passes, and yet not 0, which would not look at the model at all


@dataclass(frozen=True)
class Curve:
    """``ratios[i]``: mean magnitude of the residual of step ``i`` over that of the step before; 0 if not measured."""

    architecture: str
    ratios: tuple[float, ...]

    def settings_for(self, architecture: str) -> dict[str, Any]:
        """What it fills of ``CacheConfig``, or a ``ValueError`` where the model at hand is another one.

        An empty name fits every curve.
        """
        if architecture and architecture != self.architecture:
            raise ValueError(
                f"the curve was calibrated for {display_name(self.architecture)}, but this model is "
                f"{display_name(architecture)}: calibrate this one with DiCache Calibrate, and name that curve"
            )
        return {"curve": self.ratios}

    def to_json(self) -> str:
        return json.dumps({"architecture": self.architecture, "ratios": self.ratios})

    @classmethod
    def from_json(cls, text: str) -> Curve:
        """A curve, or a ``ValueError`` that says what is wrong with the text."""
        if len(text) > LARGEST_FILE:
            raise ValueError(f"the curve has {len(text)} characters, {LARGEST_FILE} is the most: calibrate again")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the curve is no JSON ({error}): calibrate again") from None
        if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
            raise ValueError('the curve names no "architecture": calibrate again')
        ratios = content.get("ratios")
        if not isinstance(ratios, list) or not ratios or not all(_is_ratio(r) for r in ratios):
            raise ValueError(
                f'the curve\'s "ratios" are not a list of numbers between 0 and {LARGEST_RATIO:g}: calibrate again'
            )
        return cls(content["architecture"], tuple(float(r) for r in ratios))


def calibration() -> CacheConfig:
    """Settings that record a curve: nothing is reused, everything is measured."""
    return CacheConfig(threshold=NEVER, indicator="magnitudes", predictor="reuse", warmup_steps=0)


def curve_of(run: RunStatistics) -> Curve:
    """The mean curve of all samples of a run with ``calibration()``.

    A step's ratio is known one step later, and the last step is never measured: its ratio and the one before are 0.
    """
    measured: list[list[float]] = [[] for _ in range(run.schedule.steps)]
    for lane in run.lanes().values():
        for step, decision in lane:
            if decision.error is not None and math.isfinite(decision.error):
                measured[step.index - 1].append(decision.error)
    if not any(measured):
        raise ValueError(f"nothing was measured in {run.schedule.steps} steps: calibrate with 4 steps or more")
    return Curve(run.architecture, tuple(fmean(found) if found else 0.0 for found in measured))


def _is_ratio(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST_RATIO
