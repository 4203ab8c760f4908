"""H2-Cache (arXiv 2510.27171): the half that lays out the image and the half that refines it, each behind a probe.

The first block of each stage always runs.  A stage is reused where what that block added is close to what it added when
the stage was computed last; a first stage that is reused has the second one reused.  So a step reuses both, the second
alone, or none.  Published for Flux at 50 steps without a warm-up.

Where the authors decide for a whole batch, here each sample is decided.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..segments import Segment, StackShape
from .fbcache import FirstBlock
from .indicators import indicator
from .reuse import Reuse

THRESHOLDS = (0.15, 0.22)  # of the two stages


@indicator("h2cache")
class H2Cache(FirstBlock):
    """``FirstBlock`` of each stage, ``d = mean|q - q_b| / mean|q_b|`` with the probe's residual ``q`` averaged over
    neighbouring tokens; ``b`` is the last step at which the stage was computed.

    In the first stage of the image's tokens alone, in the second with the text's.  The second stage's error is told
    times ``0.15 / 0.22``, so that one threshold serves both.
    """

    in_parts = True
    follows = True
    computes_last = False
    pools = (2048, 384)  # tokens // 2048 and tokens // 384 neighbours are one

    @classmethod
    def segments(cls, config: CacheConfig, shape: StackShape) -> Sequence[Segment]:
        if len(shape.parts) != len(THRESHOLDS):
            raise ValueError(
                "H2-Cache decides on double blocks and single ones apart, and this model has one kind of blocks: "
                "choose another policy, such as dicache or fbcache"
            )
        begins = [(part, shape.begin(part), blocks) for part, blocks in enumerate(shape.parts)]
        return [
            Segment(first, first + blocks - 1, part, config.probe_depth, behind_probe=True)
            for part, first, blocks in begins
        ]

    def error(self, obs: Observation, sums: Sequence[float]) -> float:
        return super().error(obs, sums) * THRESHOLDS[0] / THRESHOLDS[obs.segment.part]


POLICIES = (
    NamedPolicy(
        "h2cache",
        "H2-Cache",
        Group.PARTS,
        when="the first block of a stage is close to that of the stage's last computed step; a skipped first stage has "
        "the second skipped",
        how="what the stage's other blocks last added",
        policy=Policy(H2Cache.name, Reuse.name, probe_depth=1, warmup_steps=0, thresholds=everywhere(THRESHOLDS[0])),
        source=Source("H2-Cache", "2510.27171"),
    ),
)
