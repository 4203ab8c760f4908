"""Spectrum (Han et al., arXiv 2603.01623): Chebyshev polynomials fitted to the whole run so far.

Settings of the authors (github.com/hanjq17/Spectrum): five polynomials, ridge 0.1, five steps of warm-up, a first
window of 2 that grows by 0.75, and since publication an even mixture with the line through the last two computed steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source
from ..schedule import ModelCall
from .base import PlannedIndicator
from .extrapolation import Extrapolation, OutputExtrapolation, Times, Weights, linear
from .indicators import indicator
from .predictors import predictor

DEGREE = 4
RIDGE = 0.1
GROWTH = 0.75
SHARE = 0.5  # s, of the fit


@indicator("growing_window")
class GrowingWindow(PlannedIndicator):
    """``e = (n + 1) / floor(N)`` after ``n`` reused calls, judged alone: the limit being 1, every ``N``-th is computed.

    ``N`` begins at ``CacheConfig.interval`` and grows by ``GROWTH`` whenever a call after the warm-up is computed
    (appendix B): the longer the history, the longer a forecast holds.  An interval of 1 stays one, and skips nothing.
    """

    limited_by = "interval"
    accumulates = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.window = float(config.interval)
        self.reused = 0

    @classmethod
    def limit(cls, config: CacheConfig) -> float:
        return 1.0

    def planned_error(self, obs: Observation) -> float:
        return (self.reused + 1) / int(self.window)

    def follow(self, obs: Observation) -> None:
        self.reused += 1

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.reused = 0
        if self.config.interval > 1 and obs.step.global_step >= self.config.warmup_of(obs.step.total):
            self.window += GROWTH


def chebyshev(tau: float) -> list[float]:
    """``T_0(tau) .. T_DEGREE(tau)`` by ``T_k = 2 tau T_(k-1) - T_(k-2)``."""
    values = [1.0, tau]
    while len(values) <= DEGREE:
        values.append(2 * tau * values[-1] - values[-2])
    return values


def ridge_weights(now: float, times: Times) -> Weights:
    """Weights of the anchors in ``y(now) = x C``, ``C = (X'X + RIDGE I)^-1 X'Y``; times lie in [-1, 1].

    A ridge regression is linear in what it is fitted to, so that a 5 x 5 system on the host is all of it.
    """
    rows, size = [chebyshev(time) for time in times], DEGREE + 1
    system = [[sum(row[i] * row[j] for row in rows) + RIDGE * (i == j) for j in range(size)] for i in range(size)]
    solution = solve(system, chebyshev(now))
    return tuple(sum(x * z for x, z in zip(row, solution, strict=True)) for row in rows)


def solve(system: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """``system^-1 right`` of a positive definite system: Gauss, no row needs to be exchanged."""
    rows = [[*row, value] for row, value in zip(system, right, strict=True)]
    for i, pivot in enumerate(rows):
        for row in rows[i + 1 :]:
            factor = row[i] / pivot[i]
            row[:] = [a - factor * b for a, b in zip(row, pivot, strict=True)]
    solution: list[float] = []  # from behind
    for row in reversed(rows):
        known = sum(a * b for a, b in zip(reversed(row[:-1]), solution, strict=False))
        solution.append((row[-1] - known) / row[len(rows) - 1 - len(solution)])
    return solution[::-1]


class Fitted(Extrapolation):
    """``y = s fit + (1 - s) line``: the ridge regression over the whole history, and the line through its end."""

    def weigh(self, step: ModelCall, times: Times) -> Weights:
        behind = step.global_step - step.step_index  # steps of the whole schedule that other runs took
        taus = [2 * (time + behind) / step.total - 1 for time in (step.time, *times)]
        pairs = zip(ridge_weights(taus[0], taus[1:]), linear(step.time, times), strict=True)
        return tuple(SHARE * fit + (1 - SHARE) * line for fit, line in pairs)

    def forecast(self, out: Tensor) -> None:
        total = torch.zeros_like(out, dtype=torch.float32)  # many terms of either sign
        for anchor, weight in zip(reversed(self.anchors), self.weights, strict=True):
            total.add_(self.shelf.load(anchor.residual), alpha=weight)
        out.copy_(total)


@predictor("spectrum")
class Spectrum(Fitted):
    """In the stack's residual; of a longer history the newest ten computed steps count."""

    residuals = 10


@predictor("spectrum_output")
class SpectrumOutput(OutputExtrapolation, Fitted):
    """In the model's output, over the whole history."""

    window = 100


POLICIES = (
    NamedPolicy(
        "spectrum",
        "Spectrum",
        Group.INTERVAL,
        when="every n-th step is computed, with an n that grows",
        how="Chebyshev polynomials fitted to the run so far",
        policy=Policy(GrowingWindow.name, Spectrum.name, interval=2, warmup_steps=5),
        source=Source("Spectrum", "2603.01623"),
    ),
    NamedPolicy(
        "spectrum_output",
        "Spectrum, output",
        Group.INTERVAL,
        when="every n-th step is computed, with an n that grows",
        how="Chebyshev polynomials fitted to the run so far, for the output",
        policy=Policy(GrowingWindow.name, SpectrumOutput.name, interval=2, warmup_steps=5),
        source=Source("Spectrum", "2603.01623"),
    ),
)
