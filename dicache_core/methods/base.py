"""What indicators (*when*) and predictors (*how*) offer; one object per sample, so that a reset is a new object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import ClassVar

from torch import Tensor

from ..config import CacheConfig
from ..engine.storage import Storage, Stored
from ..observation import Observation
from ..schedule import ModelCall
from ..segments import Segment, StackShape
from .error_estimate import ErrorEstimator


class Stage(IntEnum):
    """How far a forward pass has to run before the indicator can speak."""

    INPUT = 0  # the model's input and sigma are enough
    ENTER = 1  # the hidden state that enters the stack is needed
    PROBE = 2  # the first blocks have to run


class Indicator(ABC):
    """Says how wrong it would be to reuse this step (*when*): a ``MeasuredIndicator`` or a ``PlannedIndicator``."""

    name: ClassVar[str]  # in settings, see ``indicators.indicator``
    stage: ClassVar[Stage]
    limited_by: ClassVar[str] = "threshold"  # the setting that bounds what is skipped; "interval", "mask" or "target"
    accumulates: ClassVar[bool] = True  # whether the gate adds errors up, or judges each one alone
    calibrated: ClassVar[bool] = False  # whether it decides by a recorded run, see ``dicache_core.calibration``
    meets_target: ClassVar[bool] = False  # whether its plan meets a target, so that no gate has to be steered
    decides_alone: ClassVar[bool] = False  # whether the streams of an image are decided one by one
    wants_modulated: ClassVar[bool] = False  # whether ``Observation.modulated`` has to be filled
    wants_grid: ClassVar[bool] = False  # whether ``view`` needs the tokens of a whole image on their grid
    probes: ClassVar[int] = 0  # probe tensors (K, D) kept between steps, at most
    records_blocks: ClassVar[bool] = False  # whether every block's change is recorded, see ``BlockRecorder``
    in_parts: ClassVar[bool] = False  # whether it decides on parts of the stack, see ``segments``
    follows: ClassVar[bool] = False  # whether a reused segment has the one after it reused too
    computes_last: ClassVar[bool] = True  # whether the last step is computed whatever it says
    pools: ClassVar[tuple[int, ...]] = ()  # per part of the stack, to how many tokens it averages what it measures

    def __init__(self, config: CacheConfig) -> None:
        self.config = config

    @classmethod
    def segments(cls, config: CacheConfig, shape: StackShape) -> Sequence[Segment]:
        """The parts of a stack that are decided one by one, in their order; none where the whole is.

        Raises:
            ValueError: this stack has not what the rule needs.
        """
        return ()

    @classmethod
    def limit(cls, config: CacheConfig) -> float:
        """What the gate compares errors with where no target steers it."""
        return config.threshold

    @classmethod
    def view(cls, modulated: Tensor, step: ModelCall) -> Tensor:
        """A sample's modulated input ``(..., D)`` as this rule compares it; the probe's tokens are then taken of it."""
        return modulated

    @property
    def held(self) -> Sequence[Tensor]:
        """Tensors kept between steps, for the memory plan."""
        return []

    def expected_error(self, step: ModelCall, last_computed: int) -> float:
        """Error expected at a call if call ``last_computed`` of its sequence was computed last, in any unit.

        A speed target plans with it and finds the unit by itself.  Every call is as bad as the next, unless a rule is
        a ``PacedIndicator``.
        """
        return 1.0 if self.accumulates else float(step.call_index - last_computed)

    def follow(self, obs: Observation) -> None:
        """Remember what the next step is compared with; called once on every step, reused or not."""

    def learn(self, obs: Observation, value: Tensor) -> None:
        """Learn from a computed step; ``value`` is the stack residual ``(T, D)`` or the model's output ``(C, ...)``."""


class MeasuredIndicator(Indicator):
    """Errors come from what a pass shows.

    ``measure`` only queues work on the device; all samples' sums are then fetched together, and ``error`` turns them
    into one number on the host.
    """

    stage = Stage.PROBE

    @abstractmethod
    def measure(self, obs: Observation) -> Sequence[Tensor]:
        """0-d float32 sums on the device; none while there is nothing to compare with."""

    @abstractmethod
    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        """Error of reusing this step, 0 or more; infinity where it cannot be told (the step is then computed)."""


class PlannedIndicator(Indicator):
    """Errors come from the schedule, or from a recorded run, alone: nothing has to be seen of a pass."""

    stage = Stage.INPUT

    @abstractmethod
    def planned_error(self, obs: Observation) -> float:
        """Error of reusing this step, 0 or more; infinity: compute it."""


class PacedIndicator(PlannedIndicator):
    """Every error is known beforehand: ``pace (l - l_b)^power``, ``l`` being where a call stands in log-SNR, ``b`` the
    call computed last."""

    power: ClassVar[float] = 1.0

    def expected_error(self, step: ModelCall, last_computed: int) -> float:
        reach = self.position(step) - self.position(step.at(max(last_computed, 0)))
        return self.pace(step) * max(0.0, reach) ** self.power

    @abstractmethod
    def pace(self, step: ModelCall) -> float:
        """Error of a forecast that reaches over one unit of log-SNR."""

    def position(self, step: ModelCall) -> float:
        """Where a call stands, in log-SNR."""
        return step.log_snr


class Space(Enum):
    """What a predictor forecasts."""

    RESIDUAL = "residual"  # R = hM - h0, (T, D): what the block stack adds to its input
    OUTPUT = "output"  # v, (C, ...): what the whole model returns; a latent, so about 1/50 of the memory


class Predictor(ABC):
    """Rebuilds what a skipped step would have given (*how*).

    Whoever makes one may give it another ``storage`` before the first step.
    """

    name: ClassVar[str]  # in settings, see ``predictors.predictor``
    space: ClassVar[Space]
    residuals: ClassVar[int] = 0  # full-size tensors (T, D) kept between steps, at most
    probes: ClassVar[int] = 0  # probe tensors (K, D) kept between steps, at most
    wants_latent: ClassVar[bool] = False  # whether forecasts also depend on ``Observation.latent``
    wants_cond_output: ClassVar[bool] = False  # whether ``Observation.cond_output`` has to be filled, in output space
    noise_aware: ClassVar[bool] = True  # whether a forecast knows of noise that the sampler has added since
    storage: Storage = Storage()  # where full-size tensors rest; this one leaves them as they are

    def __init__(self, config: CacheConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is enough history to forecast."""

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        """0-d float32 sums that the coefficients need, fetched together with the indicator's; often none."""
        return []

    @abstractmethod
    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        """Fix the coefficients of this step's forecast; returns the extrapolation factor for the statistics."""

    @abstractmethod
    def record(self, obs: Observation, value: Tensor) -> None:
        """Keep a computed step's value as the newest anchor; ``value`` belongs to the predictor from now on."""

    @abstractmethod
    def forecast(self, out: Tensor) -> None:
        """Write the planned forecast into ``out``, of the shape of the recorded values."""

    def preview(self, obs: Observation, out: Tensor) -> None:
        """Write a forecast for ``obs`` into ``out`` without bringing any number to the host."""
        self.plan(obs, [])
        self.forecast(out)

    @property
    @abstractmethod
    def held(self) -> Sequence[Tensor]:
        """Tensors kept between steps, for the memory plan; the newest recorded value comes last."""

    @property
    def stored(self) -> Sequence[Stored]:
        """What ``forecast`` will load from ``storage``."""
        return []


class AuditedPredictor(Predictor):
    """Forecasts outputs, holds each forecast against what a computed call puts out, and corrects what skips cost."""

    space = Space.OUTPUT

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.error_estimator = ErrorEstimator()

    @abstractmethod
    def latent_error(self, step: ModelCall) -> float:
        """The run's latent error if this step is skipped too, see ``ErrorEstimator``; its sums were fetched before."""

    @abstractmethod
    def correct(self, out: Tensor) -> bool:
        """Correct a computed step's output ``out`` ``(C, ...)`` in place, after ``record``; whether it was changed."""
