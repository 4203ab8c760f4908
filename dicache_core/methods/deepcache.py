"""DeepCache (Ma et al., arXiv 2312.00858): on a U-Net the deep feature is what is reused.

Interval 3 and branch 0 (here: probe depth 1), as published.
"""

from __future__ import annotations

from ..config import CacheConfig
from ..policy import Group, NamedPolicy, Policy, Source
from .planned import FixedInterval
from .reuse import Reuse

POLICIES = (
    NamedPolicy(
        "deepcache",
        "DeepCache",
        Group.INTERVAL,
        when="every third step is computed",
        how="a U-Net's deep part, or the block stack, as it last was; the outermost blocks run",
        policy=Policy(FixedInterval.name, Reuse.name, interval=3, probe_depth=1, warmup_steps=1),
        source=Source("DeepCache", "2312.00858"),
    ),
)
PUBLISHED: dict[str, CacheConfig] = {"unet": POLICIES[0].policy.applied_to(CacheConfig(architecture="unet"))}
