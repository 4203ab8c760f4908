"""This pack's own: a shrunk line through outputs in log-SNR; the error of skipped steps is made good afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..predictor import Predictor, Space
from ..schedule import LEAST_SIGNAL, Step
from .line import OutputAnchor, best_factor

LARGEST_FACTOR = 8.0  # of a debt in a computed output: a call that weighs less than an eighth of it cannot pay it


class CorrectedLine(Predictor):
    """Forecast, with ``l`` for log-SNR: ``v = v_b + w g (v_b - v_a)``, ``g = (l - l_b) / (l_b - l_a)``.

    ``w`` is learnt by self-audit, see ``OutputLine``, but is 1 where the outputs have just turned back; the same audit
    says what a skip risks, see ``Account``.

    The corrector is what a multistep ODE solver does: when a call is computed, the outputs of the calls skipped before
    it are no longer a forecast but lie *between* computed ones.  The parabola through ``a``, ``b`` and the new output
    says what they should have been,

        ``v*(l) = v_b + (l - l_b) [b, c] + (l - l_b) (l - l_c) [a, b, c]``   (Newton's divided differences),

    and the sum of ``W (v* - v)`` over them, the debt, is what the sampler's result will be off by, ``W`` being what a
    call's output weighs in it: every sampler is linear in the outputs it gets, an Euler step weighs its dsigma.  The
    computed output is returned with that sum over its own ``W`` added; with nothing skipped before it, it is returned
    as it is.  Where its own weight is too small for that, the debt waits for the next computed call; where weights are
    not known, nothing is corrected.

    Nor is the computed output what the full run's would be: the debt is missing from the ``x`` that the model saw, and
    of what is missing there it takes a part ``f`` for the picture's and the rest for noise's.  With ``x = a p + s n``
    its direction ``(x - p) / s`` is off by ``-(1 - f / a) / s`` of the debt, which is put back, see ``_missed``.  Where
    weights are larger than the way that the skipped calls went, later calls take back some, and ``x`` is off by less.
    """

    space = Space.OUTPUT
    sees_noise = False
    accounts = True
    FIRST_SHRINKAGE = 0.8  # before the first audit, which needs three computed steps

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.anchors: deque[OutputAnchor] = deque(maxlen=2)  # the newest last
        self.shrinkage: Tensor | None = None  # w, 0-d float32
        self.now: Step | None = None  # the call being forecast, or just recorded
        self.paid: Tensor | None = None  # sum of W v over the calls skipped since b, (C, ...) float32
        self.moments = (0.0, 0.0, 0.0)  # sums of W (l - l_b)^p over them, p = 0, 1, 2
        self.spread = 0.0  # sum of |W| over the calls that the debt is for
        self.way = 0.0  # how far they went, in sigma
        self.debt: Tensor | None = None  # not made good yet, (C, ...) float32
        self.missed = 0.0  # of the debt in the output recorded last, see ``_missed``
        self.weighed = True  # whether the weight of every call so far was known

    @property
    def ready(self) -> bool:
        return len(self.anchors) > 0

    def strain(self, step: Step) -> float:
        if not self.anchors:
            return 0.0
        audited = step.schedule.log_snr(step.next_in_lane)  # where it will come out how far off forecasts were
        return self.account.strain_with(step, audited - self.anchors[-1].place)

    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        self._arrive(seen.step)
        return 1.0 + self._reach(seen.step.log_snr)

    def forecast(self, out: Tensor) -> None:
        place, weight = self.now.log_snr, self.now.weight
        self.account.skip(self.now)
        out.copy_(self._line(place))
        if not self.weighed:
            return
        ahead = place - self.anchors[-1].place
        self.moments = tuple(m + weight * ahead**p for p, m in enumerate(self.moments))
        self.spread += abs(weight)
        self.way += self.now.width
        if self.paid is None:  # a debt that still waits is a payment that was not made
            self.paid, self.debt = (
                (torch.zeros_like(out, dtype=torch.float32) if self.debt is None else -self.debt),
                None,
            )
        self.paid.add_(out, alpha=weight)

    def record(self, seen: Observation, value: Tensor) -> None:
        self._arrive(seen.step)
        place = seen.step.log_snr
        if not self.weighed:
            self.debt = None
        elif self.paid is not None:
            self.debt = self._owed(value.float(), place).sub_(self.paid)
        self.missed = self._share_missed(seen.step)
        if self.missed:
            value.add_(self.debt, alpha=self.missed)
        off = self._audit(value, place)
        if seen.picture is not None:
            self.account.compute(value, seen.picture, off, place - self.anchors[-1].place if self.anchors else 0.0)
        self.paid, self.moments = None, (0.0, 0.0, 0.0)
        if self.anchors and self.anchors[-1].place >= place:
            self.anchors.pop()  # the same moment again: two anchors there would have no slope between them
        self.anchors.append(OutputAnchor(value, place))

    def correct(self, out: Tensor) -> bool:
        if self.debt is None:
            return False
        weight = self.now.weight
        payable = weight != 0 and abs(weight) * LARGEST_FACTOR >= self.spread
        share = self.missed + (1 / weight if payable else 0.0)
        if share:
            out.add_(self.debt, alpha=share)
        if payable:
            self.debt, self.spread, self.way = None, 0.0, 0.0
        return share != 0

    @property
    def held(self) -> Sequence[Tensor]:
        kept = [tensor for tensor in (self.paid, self.debt) if tensor is not None]  # one of them at the most
        return [*kept, *(anchor.value for anchor in self.anchors)]

    def _share_missed(self, step: Step) -> float:
        """Of the debt, what is put back into the output of ``step``; with a single anchor the debt is but a guess."""
        if self.debt is None or not self.spread or len(self.anchors) < 2:
            return 0.0
        return _missed(step) * min(1.0, self.way / self.spread)

    def _arrive(self, step: Step) -> None:
        self.now = step
        self.weighed &= step.weight is not None

    def _reach(self, place: float) -> float:
        if len(self.anchors) < 2:
            return 0.0
        older, newer = self.anchors
        return (place - newer.place) / (newer.place - older.place)

    def _line(self, place: float) -> Tensor:
        newest = self.anchors[-1].value
        if len(self.anchors) < 2:
            return newest
        return newest + (self._followed() * self._reach(place)) * (newest.float() - self.anchors[0].value)

    def _followed(self) -> Tensor | float:
        """How much of the line is followed: what would have been best the last time.

        Where the outputs turned back, that was nothing of the old line.  It says nothing of the new one, which is
        followed whole; the account, which trusts it less, goes by the factor itself.
        """
        if self.shrinkage is None:
            return self.FIRST_SHRINKAGE
        return self.shrinkage.masked_fill(self.shrinkage == 0, 1.0)

    def _audit(self, value: Tensor, place: float) -> Tensor | None:
        """How far off this call's forecast was, a sum of squares; and the factor that would have been best for it.

        ``clip(<p, d> / <p, p>, 0, 1)`` is the best one on a change ``p`` that was forecast where ``d`` came.
        """
        if not self.anchors:
            return None
        true = value.float() - self.anchors[-1].value.float()
        moved, reach = true.square().sum(), self._reach(place)
        if reach <= 0:
            return moved
        forecast = reach * (self.anchors[-1].value.float() - self.anchors[0].value.float())
        length, along = forecast.square().sum(), (forecast * true).sum()
        used = self.FIRST_SHRINKAGE if self.shrinkage is None else self.shrinkage
        self.shrinkage = best_factor(along, length)
        return (moved - 2 * used * along + used * used * length).clamp(min=0.0)

    def _owed(self, value: Tensor, place: float) -> Tensor:
        """``sum W v*`` over the skipped calls, ``(C, ...)`` float32, by the moments of their places."""
        zeroth, first, second = self.moments
        newer, gap = self.anchors[-1].value.float(), place - self.anchors[-1].place
        if gap <= 0:  # the same moment again: nothing lies between
            return newer * zeroth
        slope = (value - newer) / gap
        owed = newer * zeroth + slope * first
        if len(self.anchors) == 2:
            older, behind = self.anchors[0].value.float(), self.anchors[-1].place - self.anchors[0].place
            bend = (slope - (newer - older) / behind) / (gap + behind)
            owed = owed + bend * (second - gap * first)
        return owed


def _missed(step: Step) -> float:
    """What an output gains, per unit, by a debt that was missing from ``x``: ``(1 - f / a) / s``.

    Where all is noise yet, what is there decides the scene, and the model follows it, though by no more than ten times
    what ``x`` is off by; near the end half of it is taken for noise.  An output that is the picture itself is left as
    it is.
    """
    if step.schedule.of_pictures:
        return 0.0
    followed = (1.0 + step.schedule.noise_share(step.sigma)) / 2
    return (1.0 - followed / max(step.signal, LEAST_SIGNAL)) / step.sigma
