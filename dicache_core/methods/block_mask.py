"""A mask of blocks per step (after Learning-to-Cache, arXiv 2406.01733), from a calibrating run and without training.

As there, every second step is computed in full, and the one after it reuses blocks of it by a fixed mask: no more than
2x can come of it.  The authors learn their mask, with a router that is trained for each model; none exists for a model
that ComfyUI runs.  Here a block is reused where the calibrating run recorded little change of it from the step before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source, everywhere
from ..schedule import ModelCall
from ..segments import Segment, StackShape
from .base import PlannedIndicator
from .indicators import indicator
from .reuse import Reuse

CALIBRATE = "run DiCache Calibrate with this model and choose its result in DiCache Policy"


@indicator("block_mask")
class BlockMask(PlannedIndicator):
    """``e``, at every second step: the recorded change of the block at the same progress, see ``BlockRecorder``.

    In a run of fewer steps than the recorded one, each step changes as much more.
    """

    accumulates = False
    calibrated = True
    in_parts = True
    computes_last = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        if not config.block_changes:
            raise ValueError(f"block_mask needs a calibration that recorded the model's blocks: {CALIBRATE}")

    @classmethod
    def segments(cls, config: CacheConfig, shape: StackShape) -> Sequence[Segment]:
        """Blocks that change less than the threshold at some step, one by one."""
        columns = list(zip(*config.block_changes, strict=True))
        if len(columns) != shape.blocks:
            raise ValueError(
                f"this calibration is of a model with {len(columns)} blocks, and this one has {shape.blocks}: "
                f"{CALIBRATE}"
            )
        smallest = [min((change for change in column if change > 0), default=math.inf) for column in columns]
        if min(smallest) >= config.threshold:
            raise ValueError(
                f"threshold is {config.threshold:g}, and no block changed by less than {min(smallest):.3g} in the "
                "calibrating run: write a higher threshold"
            )
        parts = [part for part, blocks in enumerate(shape.parts) for _ in range(blocks)]
        return [Segment(n, n, parts[n]) for n, change in enumerate(smallest) if change < config.threshold]

    def planned_error(self, obs: Observation) -> float:
        if not obs.step.planned or obs.step.global_step % 2 == 0:
            return math.inf
        return self._change(obs.step, obs.segment.first) or math.inf

    def _change(self, step: ModelCall, block: int) -> float:
        table = self.config.block_changes
        row = table[min(round(step.progress * len(table)), len(table) - 1)]
        return row[block] * max(1.0, len(table) / step.total)


POLICIES = (
    NamedPolicy(
        "block_mask",
        "block mask",
        Group.PARTS,
        when="a block's recorded change is small; at every second step",
        how="what the block added at the step before",
        # A number of ours: below it is about half of what was recorded on the testbed's Flux in 30 steps.
        policy=Policy(BlockMask.name, Reuse.name, warmup_steps=1, thresholds=everywhere(0.03)),
        source=Source("Learning-to-Cache", "2406.01733", idea_only=True),
    ),
)
