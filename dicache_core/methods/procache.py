"""ProCache (Cao et al., arXiv 2512.17298): intervals between computed steps that never grow, within bounds.

The authors draw such patterns and keep the one that a reward model likes best; here it is the one with the smallest sum
of a calibrating run's errors.  Their selective computation inside an interval needs decisions per block: left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..config import CacheConfig
from ..policy import Group, NamedPolicy, Policy, Source
from .calibrated import Cost, Errors, Planned, cheapest
from .indicators import indicator
from .taylorseer import Taylor2


@indicator("procache")
class ProCache(Planned):
    """Intervals ``v_(i+1) <= v_i``, from one step below their mean to one above it, rounded away from it.

    As published: 3 to 6 steps for 11 computed ones of 50, 2 to 5 for 13.
    """

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config, Errors(config.residual_errors, "ProCache"))

    def plan(self, steps: int, count: int, cost: Cost) -> Sequence[int]:
        mean = steps / count
        return cheapest(steps, count, cost, max(1, math.floor(mean) - 1), math.ceil(mean) + 1, falling=True)


POLICIES = (
    NamedPolicy(
        "procache",
        "ProCache",
        Group.CALIBRATED,
        when="a plan made from the recorded errors says so; its intervals never grow",
        how="Taylor series of order 2",
        policy=Policy(ProCache.name, Taylor2.name, warmup_steps=1),
        source=Source("ProCache", "2512.17298"),
    ),
)
