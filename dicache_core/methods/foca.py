"""FoCa (Zheng et al., "Forecast then Calibrate: Feature Caching as ODE", arXiv 2508.16211): a multistep ODE solver."""

from __future__ import annotations

from ..policy import Group, NamedPolicy, Policy, Source
from .extrapolation import Extrapolation, bdf2_heun
from .planned import FixedInterval
from .predictors import predictor


@predictor("foca")
class FoCa(Extrapolation):
    """BDF2-like forecast, Heun-like correction, see ``bdf2_heun``; a line until there are three computed steps.

    Read as an equation for ``R(t)`` whose slope is only known from differences of computed steps.
    """

    residuals = 3
    solver = staticmethod(bdf2_heun)


POLICIES = (
    NamedPolicy(
        "foca",
        "FoCa",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="a multistep solver through the last computed results",
        policy=Policy(FixedInterval.name, FoCa.name, interval=3, warmup_steps=3),
        source=Source("FoCa", "2508.16211"),
    ),
)
