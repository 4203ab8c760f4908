"""What one full run tells the calibrated methods: how it is recorded, and the one file that it is written down in.

Version 1 of the file had the magnitudes alone, for MagCache; it is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from .config import CacheConfig
from .methods.recorder import GAPS, relative
from .names import display_name
from .run_statistics import RunStatistics

VERSION = 2
LARGEST_FILE = 65536  # bytes
LARGEST_RATIO = 1e6  # a residual grows a few times from one step to the next
DIGITS = 4
NUMBERS_PER_FILE = 6000  # of up to ten characters each, blocks aside
NEVER = 1e-30  # a threshold that nothing passes, and yet not 0, which would not look at the model at all
DIGITS_OF_BLOCKS = 3
TABLES = ("residual", "velocity", "blocks")

Table = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Calibration:
    """The record of a run of ``len(ratios)`` steps; 0 stands for what was not measured.

    Attributes:
        architecture: of the model.
        ratios: per step, mean magnitude of the residual over that of the step before.
        residual: per step, ``mean|R - R_k| / mean|R|`` for the residual ``k = 1, 2, ...`` steps before.
        velocity: the same of the average velocity ``(x' - x) / (sigma' - sigma)`` from this step to the next.
        blocks: per step, the change of each block's work since the step before, see ``BlockRecorder``; not there for
            models that are never skipped in parts, and in runs of so many steps that the file would be too large.
    """

    architecture: str
    ratios: tuple[float, ...]
    residual: Table = ()
    velocity: Table = ()
    blocks: Table = ()

    def settings_for(self, architecture: str) -> dict[str, Any]:
        """What it fills of ``CacheConfig``; an empty name fits every curve.

        Raises:
            ValueError: the model at hand is another one.
        """
        if architecture and architecture != self.architecture:
            raise ValueError(
                f"this calibration was made for {display_name(self.architecture)}, but this model is "
                f"{display_name(architecture)}: run DiCache Calibrate with this model and choose that calibration"
            )
        return {
            "magnitude_ratios": self.ratios,
            "residual_errors": self.residual,
            "velocity_errors": self.velocity,
            "block_changes": self.blocks,
        }

    def to_json(self) -> str:
        tables = {"residual": self.residual, "velocity": self.velocity}
        if self.blocks:
            tables["blocks"] = self.blocks
        content = {"version": VERSION, "architecture": self.architecture, "ratios": self.ratios, **tables}
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """A curve.

        Raises:
            ValueError: says what is wrong with the text.
        """
        if len(text) > LARGEST_FILE:
            raise ValueError(f"the calibration has {len(text)} characters, {LARGEST_FILE} is the most: calibrate again")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the calibration is not JSON ({error}): calibrate again") from None
        if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
            raise ValueError('the calibration has no "architecture": calibrate again')
        version = content.get("version")
        if version != VERSION:
            raise ValueError(f"the calibration has version {version!r}, this pack reads {VERSION}: calibrate again")
        ratios, tables = content.get("ratios"), [content.get(name, []) for name in TABLES]
        if not _is_row(ratios) or not ratios:
            raise ValueError(
                f'"ratios" of the calibration is not a list of numbers up to {LARGEST_RATIO:g}: calibrate again'
            )
        for name, table in zip(TABLES, tables, strict=True):
            if not isinstance(table, list) or not all(map(_is_row, table)) or len(table) not in (0, len(ratios)):
                raise ValueError(f'"{name}" of the calibration is not a list of rows, one per step: calibrate again')
        return cls(content["architecture"], *[_numbers(ratios), *[tuple(map(_numbers, table)) for table in tables]])


def recording_config() -> CacheConfig:
    """Settings that record a curve: nothing is reused, everything is measured."""
    return CacheConfig(threshold=NEVER, indicator="recorder", predictor="reuse", warmup_steps=0)


def calibration_of(run: RunStatistics) -> Calibration:
    """The mean of all samples of a run with ``recording_config()``.

    A step is known one step later, and the last step is never measured: its row and the one before are 0.
    """
    found: list[list[tuple[float, ...]]] = [[] for _ in range(run.schedule.steps)]
    for decisions in run.by_sample().values():
        for step, decision in decisions:
            if decision.measured:
                found[step.step_index - 1].append(relative(decision.measured))
    if not any(found):
        raise ValueError(f"nothing was measured in {run.schedule.steps} steps: calibrate with 4 steps or more")
    gaps = max(1, min(GAPS, (NUMBERS_PER_FILE // len(found) - 1) // 2))
    rows = [tuple(map(_mean, zip(*samples, strict=True))) if samples else (0.0,) * (2 * GAPS + 1) for samples in found]
    tables = [tuple(row[start : start + gaps] for row in rows) for start in (1, 1 + GAPS)]
    changes = tuple(tuple(_rounded(change, DIGITS_OF_BLOCKS) for change in row) for row in run.block_changes)
    whole = Calibration(run.architecture, tuple(row[0] for row in rows), *tables, changes)
    return whole if len(whole.to_json()) <= LARGEST_FILE else replace(whole, blocks=())


def _mean(values: tuple[float, ...]) -> float:
    """Of those that were measured, with as many digits as a file has."""
    known = [v for v in values if 0 < v <= LARGEST_RATIO]
    return _rounded(fmean(known), DIGITS) if known else 0.0


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _is_row(value: object) -> bool:
    return isinstance(value, list) and all(_is_ratio(number) for number in value)


def _is_ratio(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LARGEST_RATIO


def _numbers(row: list[Any]) -> tuple[float, ...]:
    return tuple(float(number) for number in row)
