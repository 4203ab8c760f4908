"""What every predictor offers; one object per sample, so that a reset is a new object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import ClassVar

from torch import Tensor

from .account import Account
from .config import CacheConfig
from .observation import Observation
from .schedule import Step
from .storage import Storage, Stored


class Space(Enum):
    """What a predictor forecasts."""

    RESIDUAL = "residual"  # R = hM - h0, (T, D): what the block stack adds to its input
    OUTPUT = "output"  # v, (C, ...): what the whole model returns; a latent, so about 1/50 of the memory


class Predictor(ABC):
    """Rebuilds what a skipped step would have given (*how*).

    Whoever makes one may give it another ``storage`` before the first step.
    """

    space: ClassVar[Space]
    residuals: ClassVar[int] = 0  # full-size tensors (T, D) kept between steps, at most
    probes: ClassVar[int] = 0  # probe tensors (K, D) kept between steps, at most
    accounts: ClassVar[bool] = False  # whether ``account`` is kept, and so ``risk`` known
    wants_latent: ClassVar[bool] = False  # whether forecasts also depend on ``Observation.latent``
    wants_leader: ClassVar[bool] = False  # whether ``Observation.leader`` has to be filled, in output space
    sees_noise: ClassVar[bool] = True  # whether a forecast knows of noise that the sampler has added since
    storage: Storage = Storage()  # where full-size tensors rest; this one leaves them as they are

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.account = Account() if self.accounts else None

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is enough history to forecast."""

    def measure(self, seen: Observation) -> Sequence[Tensor]:
        """0-d float32 sums that the coefficients need, fetched together with the indicator's; often none."""
        return []

    @abstractmethod
    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        """Fix the coefficients of this step's forecast; returns the extrapolation factor for the statistics."""

    def strain(self, step: Step) -> float:
        """How much strain is on the run if this step is skipped too, see ``Account``.

        0 for predictors that keep no account; the others' sums have been fetched before.
        """
        return 0.0

    @abstractmethod
    def record(self, seen: Observation, value: Tensor) -> None:
        """Keep a computed step's value as the newest anchor; ``value`` belongs to the predictor from now on."""

    def correct(self, out: Tensor) -> bool:
        """Change a computed step's output ``out`` ``(C, ...)`` in place, after ``record``; most leave it as it is.

        Returns whether it was changed.
        """
        return False

    @abstractmethod
    def forecast(self, out: Tensor) -> None:
        """Write the planned forecast into ``out``, of the shape of the recorded values."""

    def preview(self, seen: Observation, out: Tensor) -> None:
        """Write a forecast for ``seen`` into ``out`` without bringing any number to the host."""
        self.plan(seen, [])
        self.forecast(out)

    @property
    @abstractmethod
    def held(self) -> Sequence[Tensor]:
        """Tensors kept between steps, for the memory account; the newest recorded value comes last."""

    @property
    def stored(self) -> Sequence[Stored]:
        """What ``forecast`` will load from ``storage``."""
        return []
