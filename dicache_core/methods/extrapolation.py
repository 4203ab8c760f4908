"""Predictors whose forecast is a weighted sum of the last computed steps, the weights known from time alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..config import CacheConfig
from ..engine.storage import Storage, Stored
from ..observation import Observation
from ..schedule import ModelCall
from .base import Predictor, Space

Weights = tuple[float, ...]  # of the newest anchor first; as many as there are anchors
Times = Sequence[float]  # of the anchors, the newest first, in steps


def hold(now: float, times: Times) -> Weights:
    """``y = b``: the newest value again."""
    return (1.0,) + (0.0,) * (len(times) - 1)


def linear(now: float, times: Times) -> Weights:
    """``y = b + g (b - a)``, ``g = (now - t_b) / (t_b - t_a)``: the line through the last two."""
    if len(times) < 2:
        return hold(now, times)
    g = _gaps(now, times)
    return (1 + g, -g) + (0.0,) * (len(times) - 2)


def taylor2(now: float, times: Times) -> Weights:
    """``y = b + h D1 + h^2/2 D2``, the derivatives from differences of computed steps (arXiv 2503.06923, eq. 4 to 6).

    ``D1 = (b - a) / (t_b - t_a)``, ``D2 = (D1 - D1') / (t_b - t_a)`` with ``D1'`` that of the anchor before.
    """
    if len(times) < 3:
        return linear(now, times)
    g, ratio = _gaps(now, times), (times[0] - times[1]) / (times[1] - times[2])
    half = g * g / 2
    return (1 + g + half, -g - half * (1 + ratio), half * ratio)


def adams_bashforth2(now: float, times: Times) -> Weights:
    """``y = b + h (3/2 f_b - 1/2 f_a)`` with the slopes ``f`` from differences of computed steps."""
    if len(times) < 3:
        return linear(now, times)
    g, ratio = _gaps(now, times), (times[0] - times[1]) / (times[1] - times[2])
    return (1 + 1.5 * g, -g * (1.5 + 0.5 * ratio), 0.5 * g * ratio)


def bdf2(now: float, times: Times) -> Weights:
    """``y = 4/3 b - 1/3 a + 2/3 h f_b``, ``f_b = (3b - 4a + c) / 2h``, that move scaled to the horizon ``g``.

    The second-order backward differentiation formula with the slope of the newest computed step in place of the
    unknown one; evenly spaced anchors are assumed.
    """
    if len(times) < 3:
        return linear(now, times)
    g = _gaps(now, times)
    return (1 + 4 * g / 3, -5 * g / 3, g / 3)


def bdf2_heun(now: float, times: Times) -> Weights:
    """``y = b + h/2 (f_b + f_p)``: Heun's mean of two slopes, ``f_p = (p - b) / h`` with BDF2's ``p``."""
    if len(times) < 3:
        return linear(now, times)
    g = _gaps(now, times)
    return (1 + 17 * g / 12, -22 * g / 12, 5 * g / 12)


def _gaps(now: float, times: Times) -> float:
    """How far ahead ``now`` is, in units of the last gap between computed steps."""
    return (now - times[0]) / (times[0] - times[1])


@dataclass(frozen=True, slots=True)
class Anchor:
    """A computed step: its residual ``(T, D)``, its time in steps, and its probe residual ``(K, D)`` where one is
    kept."""

    residual: Stored
    time: float
    probe_residual: Tensor | None = None

    @property
    def held(self) -> Sequence[Tensor]:
        return self.residual.parts if self.probe_residual is None else (self.probe_residual, *self.residual.parts)


class Extrapolation(Predictor):
    """``R = sum_j w_j R_j`` over the last ``residuals`` computed steps; with ``probes``, their probe residuals are kept
    too."""

    space = Space.RESIDUAL
    window: ClassVar[int] = 0  # anchors, where they are not residuals
    solver: ClassVar[Callable[[float, Times], Weights]] = staticmethod(hold)

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[Anchor] = deque(maxlen=self.residuals or self.window)  # the newest last
        self.weights: Weights = ()

    def weigh(self, step: ModelCall, times: Times) -> Weights:
        """Weights of the anchors at ``times`` in a forecast at ``step``."""
        return self.solver(step.time, times)

    @property
    def shelf(self) -> Storage:
        """Where the anchors rest."""
        return self.storage

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.weights = self.weigh(obs.step, [anchor.time for anchor in reversed(self.anchors)])
        return self.weights[0]

    def record(self, obs: Observation, value: Tensor) -> None:
        if self.anchors and self.anchors[-1].time >= obs.step.time:
            self.anchors.pop()  # the same moment again: two anchors there would have no slope between them
        self.anchors.append(Anchor(self.shelf.keep(value), obs.step.time, obs.probe_residual if self.probes else None))

    def forecast(self, out: Tensor) -> None:
        newest, *older = reversed(self.anchors)
        out.copy_(self.shelf.load(newest.residual)).mul_(self.weights[0])
        for anchor, weight in zip(older, self.weights[1:], strict=True):
            out.add_(self.shelf.load(anchor.residual), alpha=weight)

    @property
    def held(self) -> Sequence[Tensor]:
        return [tensor for anchor in self.anchors for tensor in anchor.held]

    @property
    def stored(self) -> Sequence[Stored]:
        return [anchor.residual for anchor in self.anchors]


class OutputExtrapolation(Extrapolation):
    """``v = sum_j w_j v_j`` over the last ``window`` computed outputs, which stay beside the model."""

    space = Space.OUTPUT
    noise_aware = False
    shelf = Storage()

    @property
    def stored(self) -> Sequence[Stored]:
        return []
