"""TaylorSeer (Liu et al., "From Reusable to Forecasting", arXiv 2503.06923): Taylor's series with finite differences.

The paper forecasts every block's features; here it is the whole stack's residual, once.
"""

from __future__ import annotations

from ..policy import Group, NamedPolicy, Policy, Source
from .extrapolation import Extrapolation, linear, taylor2
from .planned import FixedInterval
from .predictors import predictor


@predictor("taylor1")
class Taylor1(Extrapolation):
    """``R = R_b + h D1``, ``D1 = (R_b - R_a) / (t_b - t_a)``, ``h`` in steps since ``b``."""

    residuals = 2
    solver = staticmethod(linear)


@predictor("taylor2")
class Taylor2(Extrapolation):
    """``R = R_b + h D1 + h^2/2 D2``; first order until there are three computed steps."""

    residuals = 3
    solver = staticmethod(taylor2)


POLICIES = (
    NamedPolicy(
        "taylorseer_1",
        "TaylorSeer 1",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="Taylor series of order 1",
        policy=Policy(FixedInterval.name, Taylor1.name, interval=3, warmup_steps=3),
        source=Source("TaylorSeer", "2503.06923"),
    ),
    NamedPolicy(
        "taylorseer_2",
        "TaylorSeer 2",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="Taylor series of order 2",
        policy=Policy(FixedInterval.name, Taylor2.name, interval=3, warmup_steps=3),
        source=Source("TaylorSeer", "2503.06923"),
    ),
)
