"""Plans for the forecast method, searched on what full runs of a model put out, without the model.

The runs' outputs ``v_i`` stand for those of the calls that a plan computes.  A skipped call gets what the method would
forecast, and the sampler's weights ``W_i`` say how far ``x`` is then displaced when the next call is computed:

    ``D_c = sum over skipped i of W_i (forecast_i - v_i)``, plus what corrections have left of earlier ones.

What a recorded path does not show is how the model answers a displaced ``x``: early errors grow.  So a plan costs

    ``sum_c |D_c|^2 / a_c^(2 p) + |D_end|^2``,

``a`` being how much of the image ``x`` holds: what is off keeps its share of the image, ``D / a``, and after early
calls more time is left to correct it.  How hard each image is, is measured on real runs (``Growth``).  Which ``p`` a
model has shows in real runs of plans alone: on trained models plans of 0.4 to 1.2 were the best, so each of a few has
its own.  Two searches follow each other: dynamic programming over pairs of computed calls, as a line needs two, for
which each skipped run is alone; and hill climbing on the whole simulated run.

Everything is a sum of outputs, so products of outputs with each other are all that is kept of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import torch
from torch import Tensor

from ..methods.forecast import CorrectedLine
from ..schedule import CallSequence, Schedule

EXPONENTS = (0.4, 1.0, 1.2)  # p, in the order in which their plans are tried
MOST_CALLS = 100  # of a run that is searched: the dynamic program goes through triples of them
REACH = 3  # calls that a computed one moves at a time
AT_ONCE = 256  # plans that are simulated together
VALUES_AT_ONCE = 1 << 16  # of an image, for products of outputs

Computed = tuple[int, ...]  # calls, rising, the first and the last among them


def products(outputs: Sequence[Tensor]) -> Tensor:
    """``(N, M, M)`` float64: per image the mean product of the outputs of any two of its ``M`` calls.

    ``outputs`` are ``(N, C, ...)``, one for each call.
    """
    flat = [output.flatten(1) for output in outputs]
    samples, values = flat[0].shape
    found = torch.zeros(samples, len(flat), len(flat), dtype=torch.float64)
    for begin in range(0, values, VALUES_AT_ONCE):
        part = torch.stack([row[:, begin : begin + VALUES_AT_ONCE] for row in flat], 1).double()
        found += part @ part.mT
    return found / values


@dataclass(frozen=True)
class RealRun:
    """A real run of one of the images: which calls were computed, and the mean squared error of its latent."""

    image: int
    computed: Computed
    error: float


@dataclass(frozen=True)
class Growth:
    """How errors of a displaced ``x`` grow until the end.

    Attributes:
        exponent: ``p``.
        hardness: per image, what it was off by over what ``p`` alone lets expect; the pooled error goes by it.
    """

    exponent: float
    hardness: Tensor  # (N,)

    @classmethod
    def measured(cls, runs: SimulatedRuns, trials: Iterable[RealRun]) -> list[Growth]:
        """One for each of ``EXPONENTS``, by real runs; an image without one is as hard as the others."""
        known = [trial for trial in trials if trial.error > 0 and len(trial.computed) < runs.calls]
        return [cls(exponent, _hardness(runs, exponent, known)) for exponent in EXPONENTS]


def _hardness(runs: SimulatedRuns, exponent: float, trials: Sequence[RealRun]) -> Tensor:
    """``(N,)``: in the geometric mean of an image's trials, what it was off by over what ``exponent`` lets expect."""
    logs: list[list[float]] = [[] for _ in range(runs.images)]
    for trial in trials:
        expected = runs.costs([trial.computed], exponent)[0, trial.image].item()
        if expected > 0:
            logs[trial.image].append(math.log(trial.error / expected))
    means = [fmean(of_image) for of_image in logs if of_image]
    usual = fmean(means) if means else 0.0
    return torch.tensor([math.exp(fmean(of) if of else usual) for of in logs], dtype=torch.float64)


class SimulatedRuns:
    """Runs in which recorded outputs stand for the computed ones.

    Args:
        gram: ``(N, M, M)`` float64, see ``products``.
        schedule, sequence: of the runs; the weights of the ``M`` calls are known.
    """

    def __init__(self, gram: Tensor, schedule: Schedule, sequence: CallSequence) -> None:
        self.gram = gram
        self.images, self.calls = gram.shape[:2]
        self.log_snr = torch.tensor([schedule.log_snr(sigma) for sigma in sequence.sigmas], dtype=torch.float64)
        self.weights = torch.tensor(sequence.weights, dtype=torch.float64)
        self.signal = torch.tensor([schedule.alpha(sigma) for sigma in sequence.sigmas], dtype=torch.float64)

    def costs(self, plans: Sequence[Computed], exponent: float) -> Tensor:
        """``(P, N)``: what each plan costs each image, see this file's head; all compute the same number of calls."""
        return torch.cat(
            [self._costs(torch.tensor(plans[i : i + AT_ONCE]), exponent) for i in range(0, len(plans), AT_ONCE)]
        )

    def pooled(self, plans: Sequence[Computed], growth: Growth) -> Tensor:
        """``(P,)``: the squared error that is expected of each plan, in the mean of the images."""
        return (self.costs(plans, growth.exponent) * growth.hardness).mean(1)

    def _costs(self, plans: Tensor, exponent: float) -> Tensor:
        """``plans`` ``(P, K)``.  What is displaced is a row of factors on the outputs, ``(P, N, M)``."""
        unit, (count, length) = torch.eye(self.calls, dtype=torch.float64), plans.shape
        left = torch.zeros(count, self.images, self.calls, dtype=torch.float64)  # after corrections
        total = torch.zeros(count, self.images, dtype=torch.float64)
        factor = torch.full((count, self.images, 1), CorrectedLine.FIRST_SHRINKAGE, dtype=torch.float64)
        for k in range(1, length):
            b, c = plans[:, k - 1], plans[:, k]
            zeroth, first, second = (moment[b, c, None] for moment in self._moments)  # (P, 1)
            skipped = self._skipped[b, c]  # (P, M)
            gap = (self.log_snr[c] - self.log_snr[b])[:, None]
            slope = (unit[c] - unit[b]) / gap
            line = bend = torch.zeros_like(skipped)
            if k > 1:
                behind = (self.log_snr[b] - self.log_snr[plans[:, k - 2]])[:, None]
                line = (unit[b] - unit[plans[:, k - 2]]) / behind
                bend = (slope - line) / (gap + behind)
            forecast = (zeroth * unit[b] - skipped)[:, None] + factor * (first * line)[:, None]
            total += self._squares(left + forecast) / self.signal[c][:, None] ** (2 * exponent)
            left = left + (zeroth * unit[b] + first * slope + (second - gap * first) * bend - skipped)[:, None]
            if k > 1:
                factor = self._audited(gap * line, unit[c] - unit[b])[..., None]
        return total + self._squares(left)

    def _squares(self, factors: Tensor) -> Tensor:
        """``(P, N)`` mean squares of sums of outputs ``(P, N, M)``."""
        return torch.einsum("pni,nij,pnj->pn", factors, self.gram, factors)

    def _audited(self, forecast: Tensor, true: Tensor) -> Tensor:
        """``(P, N)`` the factor on the next line, by a change ``(P, M)`` that was forecast, where another one came."""
        along = torch.einsum("pi,nij,pj->pn", forecast, self.gram, true)
        length = torch.einsum("pi,nij,pj->pn", forecast, self.gram, forecast)
        best = (along / length).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
        return best.masked_fill(best == 0, 1.0)

    @cached_property
    def _skipped(self) -> Tensor:
        """``(M, M, M)``: the weights of the calls between two computed ones."""
        call = torch.arange(self.calls)
        between = (call[None, None] > call[:, None, None]) & (call[None, None] < call[None, :, None])
        return between * self.weights

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """``(M, M)`` each: sums of ``W (l - l_b)^p`` over the calls between ``b`` and ``c``, p = 0, 1, 2."""
        ahead = self.log_snr[None] - self.log_snr[:, None]  # (b, i)
        zeroth, first, second = (torch.einsum("bci,bi->bc", self._skipped, ahead**p) for p in range(3))
        return zeroth, first, second

    def triples(self, growth: Growth) -> Tensor:
        """``(M, M, M)``: what the calls skipped between ``b`` and ``c`` cost on the line through ``a`` and ``b``.

        A first one, with nothing before it, stands at ``a = b = 0``.  The line is followed in full.
        """
        zeroth, first, _ = self._moments
        behind = self.log_snr[None] - self.log_snr[:, None]  # (a, b)
        reach = torch.where(behind[..., None] > 0, first[None] / behind[..., None], 0.0)  # (a, b, c)
        found = torch.zeros_like(reach)
        for gram, hardness in zip(self.gram, growth.hardness, strict=True):
            with_skipped = torch.einsum("bci,ij->bcj", self._skipped, gram)
            squares = torch.einsum("bcj,bcj->bc", with_skipped, self._skipped)
            mine = torch.diagonal(with_skipped, dim1=0, dim2=2).T  # (b, c): of the skipped ones with b
            theirs = with_skipped.permute(2, 0, 1)  # (a, b, c)
            on_b, own = zeroth[None] + reach, torch.diagonal(gram)
            found += hardness * (
                on_b**2 * own[None, :, None] + reach**2 * own[:, None, None] + squares[None]
                - 2 * on_b * reach * gram[:, :, None] - 2 * on_b * mine[None] + 2 * reach * theirs
            )  # fmt: skip
        return found.clamp(min=0.0) / self.signal ** (2 * growth.exponent)


def shortest_path(runs: SimulatedRuns, count: int, growth: Growth, lead: int = 1) -> Computed:
    """The ``count`` calls that cost least if each run of skipped ones is alone, by dynamic programming over pairs.

    The first ``lead`` calls are among them.
    """
    calls, cost = runs.calls, runs.triples(growth)
    order = torch.arange(calls)
    falls = (order[:, None] >= order[None])[..., None] | (order[:, None] >= order[None])[None]  # not a < b < c
    first = cost[0, 0]
    cost = cost.masked_fill(falls, torch.inf)
    best = torch.full((calls, calls), torch.inf, dtype=torch.float64)  # by the last two
    if lead > 1:
        best[lead - 2, lead - 1] = 0.0
    else:
        best[0, 1:] = first[1:]
    before: list[Tensor] = []
    for _ in range(count - max(lead, 2)):
        best, chosen = (best[..., None] + cost).min(0)
        before.append(chosen)
    found = [calls - 1, int(best[:, -1].argmin())]
    for chosen in reversed(before):
        found.append(int(chosen[found[-1], found[-2]]))
    return (*range(lead - 2), *reversed(found))


def climbed(runs: SimulatedRuns, start: Computed, growth: Growth, lead: int = 1) -> tuple[Computed, float]:
    """From ``start`` on, one computed call behind the first ``lead`` is moved at a time as long as that helps.

    The plan and its pooled error.
    """
    best, cost = start, runs.pooled([start], growth).item()
    while True:
        others = sorted(_neighbours(best, runs.calls, lead))
        if not others:
            return best, cost
        found = runs.pooled(others, growth)
        nearest = int(found.argmin())
        if not found[nearest] < cost:
            return best, cost
        best, cost = others[nearest], found[nearest].item()


def _neighbours(plan: Computed, calls: int, lead: int) -> set[Computed]:
    others = set()
    for moved in plan[lead:-1]:
        for to in range(max(lead, moved - REACH), min(calls - 1, moved + REACH + 1)):
            if to not in plan:
                others.add(tuple(sorted({*plan} - {moved} | {to})))
    return others


def search_plans(runs: SimulatedRuns, known: Computed, growths: Iterable[Growth]) -> list[Computed]:
    """For each growth the plan that is expected to be closest, of as many calls as ``known`` computes, if it is not
    ``known`` itself; each plan once.

    What ``known`` computes in a row at the start stays computed: a skip there would be cancelled.
    """
    lead, found = _in_a_row(known), {}
    if len(known) < lead + 2:  # nothing in between can be moved
        return []
    for growth in growths:
        starts = {known, shortest_path(runs, len(known), growth, lead), _even(runs.calls, len(known), lead)}
        ends = [climbed(runs, start, growth, lead) for start in sorted(starts)]
        found[min(ends, key=lambda end: end[1])[0]] = None
    return [plan for plan in found if plan != known]


def _in_a_row(plan: Computed) -> int:
    """How many calls from the first one on it computes in a row."""
    return next((number for number, call in enumerate(plan) if call != number), len(plan))


def _even(calls: int, count: int, lead: int) -> Computed:
    """The first ``lead`` calls, and the others evenly spread."""
    behind = count - lead
    return (*range(lead), *(lead - 1 + round(n * (calls - lead) / behind) for n in range(1, behind + 1)))
