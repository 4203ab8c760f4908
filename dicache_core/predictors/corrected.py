"""This pack's own: a shrunk line through outputs in log-SNR; the error of skipped steps is made good afterwards."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..predictor import Predictor, Space
from ..schedule import Step

EDGE = 0.005  # keeps log-SNR finite at both ends of the schedule
BETWEEN = 0.01  # of a step: beyond it a call is between two points of the schedule; sigmas are rounded


def log_snr(sigma: float) -> float:
    """Half the log signal-to-noise ratio of rectified flow, ``log((1 - sigma) / sigma)``, softened at both ends.

    In it a model's output moves at an even pace, so that lines through it reach further than in sigma.
    """
    return math.log((max(0.0, 1.0 - sigma) + EDGE) / (sigma + EDGE))


@dataclass(frozen=True, slots=True)
class OutputAnchor:
    """A computed step: its output ``(C, ...)`` and where it was."""

    value: Tensor
    place: float  # log_snr


class CorrectedLine(Predictor):
    """Forecast, with ``l`` for ``log_snr``: ``v = v_b + w g (v_b - v_a)``, ``g = (l - l_b) / (l_b - l_a)``.

    ``w`` is learnt by self-audit, see ``OutputLine``.  The corrector is what a multistep ODE solver does: when a step
    is computed, the outputs of the steps skipped before it are no longer a forecast but lie *between* computed ones.
    The parabola through ``a``, ``b`` and the new output says what they should have been,

        ``v*(l) = v_b + (l - l_b) [b, c] + (l - l_b) (l - l_c) [a, b, c]``   (Newton's divided differences),

    and the sum of ``(v* - v) dsigma`` over them is what the sampler's state is off by.  The computed output is returned
    with that sum over this step's own ``dsigma`` added, so that an Euler step makes it good; with nothing skipped
    before it, it is returned as it is.  Heun and multistep samplers weigh outputs about alike, to first order; those
    that call between the points of the schedule do not, and get no correction.
    """

    space = Space.OUTPUT
    FIRST_SHRINKAGE = 0.8  # before the first audit, which needs three computed steps

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[OutputAnchor] = deque(maxlen=2)  # the newest last
        self.shrinkage: Tensor | None = None  # w, 0-d float32
        self.step: Step | None = None  # the one being forecast, or just recorded
        self.paid: Tensor | None = None  # sum of v dsigma over the steps skipped since b, (C, ...) float32
        self.moments = (0.0, 0.0, 0.0)  # sums of dsigma (l - l_b)^p over them, p = 0, 1, 2
        self.debt: Tensor | None = None  # of the step just recorded, (C, ...) float32
        self.on_schedule = True  # whether every call so far was at a point of the schedule

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        self._arrive(seen.step)
        return 1.0 + self._reach(log_snr(seen.step.sigma))

    def forecast(self, out: Tensor) -> None:
        out.copy_(self._line(log_snr(self.step.sigma)))
        width, ahead = self._width(), log_snr(self.step.sigma) - self.anchors[-1].place
        self.moments = tuple(m + width * ahead**p for p, m in enumerate(self.moments))
        self.paid = out.float() * width if self.paid is None else self.paid.add_(out, alpha=width)

    def record(self, seen: Observation, value: Tensor) -> None:
        self._arrive(seen.step)
        place = log_snr(seen.step.sigma)
        owes = self.paid is not None and self.on_schedule
        self.debt = self._owed(value.float(), place).sub_(self.paid) if owes else None
        self._audit(value, place)
        self.paid, self.moments = None, (0.0, 0.0, 0.0)
        if self.anchors and self.anchors[-1].place >= place:
            self.anchors.pop()  # the same moment again: two anchors there would have no slope between them
        self.anchors.append(OutputAnchor(value, place))

    def correct(self, out: Tensor) -> None:
        if self.debt is not None:
            out.add_((self.debt / self._width()).to(out.dtype))
            self.debt = None

    @property
    def held(self) -> Sequence[Tensor]:
        kept = [] if self.paid is None else [self.paid]
        return [*kept, *(anchor.value for anchor in self.anchors)]

    def _arrive(self, step: Step) -> None:
        self.step = step
        self.on_schedule &= step.time - step.index < BETWEEN

    def _width(self) -> float:
        """``dsigma`` of this step, negative."""
        return self.step.next_sigma - self.step.sigma

    def _reach(self, place: float) -> float:
        if len(self.anchors) < 2:
            return 0.0
        older, newer = self.anchors
        return (place - newer.place) / (newer.place - older.place)

    def _line(self, place: float) -> Tensor:
        newest = self.anchors[-1].value
        if len(self.anchors) < 2:
            return newest
        shrinkage = self.FIRST_SHRINKAGE if self.shrinkage is None else self.shrinkage
        return newest + (shrinkage * self._reach(place)) * (newest.float() - self.anchors[0].value)

    def _audit(self, value: Tensor, place: float) -> None:
        """The factor that would have forecast this step best from the two computed before."""
        reach = self._reach(place)
        if reach > 0:
            older, newer = (anchor.value.float() for anchor in self.anchors)
            forecast, true = reach * (newer - older), value.float() - newer
            factor = (forecast * true).sum() / forecast.square().sum()
            self.shrinkage = factor.nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)

    def _owed(self, value: Tensor, place: float) -> Tensor:
        """``sum v* dsigma`` over the skipped steps, ``(C, ...)`` float32, by the moments of their places."""
        zeroth, first, second = self.moments
        newer, gap = self.anchors[-1].value.float(), place - self.anchors[-1].place
        slope = (value - newer) / gap
        owed = newer * zeroth + slope * first
        if len(self.anchors) == 2:
            older, behind = self.anchors[0].value.float(), self.anchors[-1].place - self.anchors[0].place
            bend = (slope - (newer - older) / behind) / (gap + behind)
            owed = owed + bend * (second - gap * first)
        return owed
