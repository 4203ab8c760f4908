"""What one full run tells the calibrated methods: how it is recorded, and the one file that it is written down in.

Version 1 of the file had the magnitudes alone, for MagCache; it is still read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from .config import CacheConfig
from .known.recorder import GAPS, relative
from .names import display_name
from .statistics import RunStatistics

VERSION = 2
LARGEST_FILE = 65536  # bytes
LARGEST_RATIO = 1e6  # a residual grows a few times from one step to the next
DIGITS = 4
NUMBERS_PER_FILE = 6000  # of up to ten characters each
NEVER = 1e-30  # a threshold that nothing passes, and yet not 0, which would not look at the model at all

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Curve:
    """The record of a run of ``len(ratios)`` steps; 0 stands for what was not measured.

    Slots:
        architecture: of the model.
        ratios: per step, mean magnitude of the residual over that of the step before.
        residual: per step, ``mean|R - R_k| / mean|R|`` for the residual ``k = 1, 2, ...`` steps before.
        velocity: the same of the average velocity ``(x' - x) / (sigma' - sigma)`` from this step to the next.
    """

    architecture: str
    ratios: tuple[float, ...]
    residual: Table = ()
    velocity: Table = ()

    def settings_for(self, architecture: str) -> dict[str, Any]:
        """What it fills of ``CacheConfig``, or a ``ValueError`` where the model at hand is another one.

        An empty name fits every curve.
        """
        if architecture and architecture != self.architecture:
            raise ValueError(
                f"the curve was calibrated for {display_name(self.architecture)}, but this model is "
                f"{display_name(architecture)}: calibrate this one with DiCache Calibrate, and name that curve"
            )
        return {"curve": self.ratios, "residual_errors": self.residual, "velocity_errors": self.velocity}

    def to_json(self) -> str:
        tables = {"residual": self.residual, "velocity": self.velocity}
        content = {"version": VERSION, "architecture": self.architecture, "ratios": self.ratios, **tables}
        return json.dumps(content, separators=(",", ":"))

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
        version = content.get("version", 1)
        if version not in (1, VERSION):
            raise ValueError(f"the curve is of version {version!r}, this pack reads up to {VERSION}: calibrate again")
        ratios, tables = content.get("ratios"), [content.get(name, []) for name in ("residual", "velocity")]
        if not _is_row(ratios) or not ratios:
            raise ValueError(
                f'the curve\'s "ratios" are not a list of numbers between 0 and {LARGEST_RATIO:g}: calibrate again'
            )
        for name, table in zip(("residual", "velocity"), tables, strict=True):
            if not isinstance(table, list) or not all(map(_is_row, table)) or len(table) not in (0, len(ratios)):
                raise ValueError(f'the curve\'s "{name}" is no list of rows, one per step: calibrate again')
        return cls(content["architecture"], *[_numbers(ratios), *[tuple(map(_numbers, table)) for table in tables]])


def calibration() -> CacheConfig:
    """Settings that record a curve: nothing is reused, everything is measured."""
    return CacheConfig(threshold=NEVER, indicator="recorder", predictor="reuse", warmup_steps=0)


def curve_of(run: RunStatistics) -> Curve:
    """The mean of all samples of a run with ``calibration()``.

    A step is known one step later, and the last step is never measured: its row and the one before are 0.
    """
    found: list[list[tuple[float, ...]]] = [[] for _ in range(run.schedule.steps)]
    for lane in run.lanes().values():
        for step, decision in lane:
            if decision.measured:
                found[step.index - 1].append(relative(decision.measured))
    if not any(found):
        raise ValueError(f"nothing was measured in {run.schedule.steps} steps: calibrate with 4 steps or more")
    gaps = max(1, min(GAPS, (NUMBERS_PER_FILE // len(found) - 1) // 2))
    rows = [tuple(map(_mean, zip(*samples, strict=True))) if samples else (0.0,) * (2 * GAPS + 1) for samples in found]
    tables = [tuple(row[start : start + gaps] for row in rows) for start in (1, 1 + GAPS)]
    return Curve(run.architecture, tuple(row[0] for row in rows), *tables)


def _mean(values: tuple[float, ...]) -> float:
    """Of those that were measured, with as many digits as a file has."""
    known = [v for v in values if 0 < v <= LARGEST_RATIO]
    return float(f"{fmean(known):.{DIGITS}g}") if known else 0.0


def _is_row(value: object) -> bool:
    return isinstance(value, list) and all(_is_ratio(number) for number in value)


def _is_ratio(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST_RATIO


def _numbers(row: list[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in row)
