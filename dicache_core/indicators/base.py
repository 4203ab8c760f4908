"""What every indicator offers; one object per sample, so that a reset is a new object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..schedule import Step


class Stage(IntEnum):
    """How far a forward pass has to run before the indicator can speak."""

    INPUT = 0  # the model's input and sigma are enough
    ENTER = 1  # the hidden state that enters the stack is needed
    PROBE = 2  # the first blocks have to run


class Indicator(ABC):
    """Says how wrong it would be to reuse this step (*when*).

    ``measure`` only queues work on the device; all samples' sums are then fetched together, and ``error`` turns them
    into one number on the host.
    """

    stage: ClassVar[Stage] = Stage.PROBE
    limited_by: ClassVar[str] = "threshold"  # the setting that bounds what is skipped; "interval", "mask" or "target"
    accumulates: ClassVar[bool] = True  # whether the gate adds errors up, or judges each one alone
    foresees: ClassVar[bool] = False  # whether ``pace`` tells every error beforehand, exactly
    calibrated: ClassVar[bool] = False  # whether it needs what DiCache Calibrate records
    wants_modulated: ClassVar[bool] = False  # whether ``Observation.modulated`` has to be filled
    probes: ClassVar[int] = 0  # probe tensors (K, D) kept between steps, at most

    def __init__(self, config: CacheConfig) -> None:
        self.config = config

    @abstractmethod
    def measure(self, seen: Observation) -> Sequence[Tensor]:
        """0-d float32 sums on the device; none while there is nothing to compare with."""

    @abstractmethod
    def error(self, seen: Observation, sums: Sequence[float]) -> float:
        """Error of reusing this step, 0 or more; infinity where it cannot be told (the step is then computed)."""

    @classmethod
    def limit(cls, config: CacheConfig) -> float:
        """What the gate compares errors with where no target steers it."""
        return config.threshold

    @property
    def held(self) -> Sequence[Tensor]:
        """Tensors kept between steps, for the memory account."""
        return []

    def foresee(self, step: Step, anchor: int) -> float:
        """Error expected at a call if call ``anchor`` of its lane was computed last, in any unit.

        A speed target plans with it and finds the unit by itself.  Every call is as bad as the next, unless a rule
        ``foresees``: then it is ``pace (l - l_anchor)``, ``l`` being log-SNR.
        """
        if self.foresees:
            return self.pace(step) * (step.log_snr - step.at(max(anchor, 0)).log_snr)
        return 1.0 if self.accumulates else float(step.call - anchor)

    def pace(self, step: Step) -> float:
        """Of a rule that ``foresees``: error per unit of log-SNR since the last computed call."""
        raise TypeError(f"{type(self).__name__} foresees nothing")

    def follow(self, seen: Observation) -> None:
        """Remember what the next step is compared with; called once on every step, reused or not."""

    def learn(self, seen: Observation, value: Tensor) -> None:
        """Learn from a computed step; ``value`` is the stack residual ``(T, D)`` or the model's output ``(C, ...)``."""
