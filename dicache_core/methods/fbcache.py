"""First-block caching (FBCache, from the ParaAttention project): compare the probe with the last *computed* step."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..reductions import rel_l1, rel_l1_sums
from .base import MeasuredIndicator
from .indicators import indicator
from .reuse import Reuse


@indicator("first_block")
class FirstBlock(MeasuredIndicator):
    """``d = mean|q - q_b| / mean|q_b|``, judged alone: nothing adds up, as ``b`` is the last computed step."""

    accumulates = False
    probes = 1

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.computed: Tensor | None = None  # q_b, (K, D)

    def measure(self, obs: Observation) -> Sequence[Tensor]:
        return [] if self.computed is None else rel_l1_sums(obs.probe_residual, self.computed)

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        return rel_l1(sums)

    @property
    def held(self) -> Sequence[Tensor]:
        return [] if self.computed is None else [self.computed]

    def learn(self, obs: Observation, value: Tensor) -> None:
        self.computed = obs.probe_residual


POLICIES = (
    NamedPolicy(
        "fbcache",
        "FBCache",
        Group.EVERY_STEP,
        when="the first block is close to that of the last computed step",
        how="the last computed result",
        policy=Policy(FirstBlock.name, Reuse.name, thresholds=everywhere(0.1, flux=0.12)),
        source=Source("ParaAttention"),
    ),
)
