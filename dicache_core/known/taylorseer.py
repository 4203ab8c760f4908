"""TaylorSeer (Liu et al., "From Reusable to Forecasting", arXiv 2503.06923): Taylor's series with finite differences.

The paper forecasts every block's features; here it is the whole stack's residual, once.
"""

from __future__ import annotations

from .extrapolation import Extrapolation, linear, taylor2


class Taylor1(Extrapolation):
    """``R = R_b + h D1``, ``D1 = (R_b - R_a) / (t_b - t_a)``, ``h`` in steps since ``b``."""

    residuals = 2
    solver = staticmethod(linear)


class Taylor2(Extrapolation):
    """``R = R_b + h D1 + h^2/2 D2``; first order until there are three computed steps."""

    residuals = 3
    solver = staticmethod(taylor2)
