"""HiCache ("Hermite Polynomial-based Feature Caching", arXiv 2508.16984): Hermite in place of Taylor."""

from __future__ import annotations

from ..policy import Group, NamedPolicy, Policy, Source
from .extrapolation import Extrapolation, Times, Weights, linear
from .planned import FixedInterval
from .predictors import predictor

CONTRACTION = 0.5  # as in the authors' code for Flux (github.com/Shenyi-Z/Cache4Diffusion)


def hermite(order: int, x: float) -> float:
    """``H_n(x)``, the physicists': 1, 2x, 4x^2 - 2, ..., ``H_(n+1) = 2x H_n - 2n H_(n-1)``."""
    before, value = 0.0, 1.0
    for n in range(order):
        before, value = value, 2 * x * value - 2 * n * before
    return value


def contracted(order: int, x: float, contraction: float) -> float:
    """``s^n H_n(s x)``: high orders stay small far ahead."""
    return contraction**order * hermite(order, contraction * x)


def hermite2(now: float, times: Times, contraction: float = CONTRACTION) -> Weights:
    """``y = b + D1 h1(k) + D2 h2(k) / 2``, ``h_n(k) = s^n H_n(s k)``, ``k`` steps ahead, ``s`` the contraction.

    The differences are those of ``taylor2``; with fewer than three computed steps there is no ``D2``, or nothing.
    """
    if len(times) < 2:
        return linear(now, times)
    gap, ahead = times[0] - times[1], now - times[0]
    first = contracted(1, ahead, contraction) / gap
    if len(times) < 3:
        return (1 + first, -first)
    second = contracted(2, ahead, contraction) / (2 * gap)
    before = times[1] - times[2]
    return (1 + first + second / gap, -first - second / gap - second / before, second / before)


@predictor("hicache")
class HiCache(Extrapolation):
    """Second order, as published; the paper forecasts every block's features, here the whole stack's residual."""

    residuals = 3
    solver = staticmethod(hermite2)


POLICIES = (
    NamedPolicy(
        "hicache",
        "HiCache",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="Hermite polynomials in place of Taylor's",
        policy=Policy(FixedInterval.name, HiCache.name, interval=6, warmup_steps=3),
        source=Source("HiCache", "2508.16984"),
    ),
)
