"""ProfilingDiT (arXiv 2504.03140): blocks that attend to the background are reused at fixed steps, the others never.

The authors tell foreground from background blocks offline, by each block's attention, and publish lists for two models
at 50 steps.  Lists and step schedules are theirs, not their profile: the released "foreground" list of HunyuanVideo
equals its "background" list.  One residual is kept per stretch of neighbouring blocks, and what was computed last is
added again.  In a run of another length the numbers of the steps are taken as they are, and behind a list every sixth.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..config import CacheConfig
from ..names import display_name
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source
from ..schedule import ModelCall
from ..segments import WRITE_BLOCKS, Segment, StackShape, parse_blocks
from .base import PlannedIndicator
from .indicators import indicator
from .reuse import Reuse

STEPS = 50  # of the published schedules
FIRST, EVERY = 6, 6  # steps that are computed in full, and the later ones where nothing else is listed


@dataclass(frozen=True)
class Profile:
    """What is published for one model.

    Attributes:
        shape: of the stack that the lists are of.
        blocks: that are reused, per part.
        computed: per part, the later of the ``STEPS`` steps at which they are computed; every sixth where it has none.
    """

    shape: StackShape
    blocks: Mapping[str, Collection[int]]
    computed: Mapping[str, Collection[int]] = field(default_factory=dict)


PROFILES: dict[str, Profile] = {
    "hunyuan_video": Profile(
        StackShape((20, 40)),
        parse_blocks("double 6-19, single 0 2 4-7 10-21 23 25-27 31 33"),
        {"single": frozenset({6, 18, 26, 32, 38, 42, 46, 48})},
    ),
    "wan": Profile(StackShape((40,)), parse_blocks("blocks 0 2-7 10-20 25-32 37-38")),
}


@indicator("profilingdit")
class ProfilingDiT(PlannedIndicator):
    """``e = 0`` at the steps of the schedule at which a segment is reused, infinite at the others."""

    limited_by = "mask"
    accumulates = False
    in_parts = True
    computes_last = False

    @classmethod
    def segments(cls, config: CacheConfig, shape: StackShape) -> Sequence[Segment]:
        if config.mask:
            return shape.stretches(parse_blocks(config.mask))
        name, profile = display_name(config.architecture), PROFILES.get(config.architecture)
        if profile is None:
            known = " and ".join(map(display_name, PROFILES))
            raise ValueError(
                f"ProfilingDiT has lists of blocks for {known}, and none for {name}: in mask of DiCache Policy "
                f"{WRITE_BLOCKS}"
            )
        if shape != profile.shape:
            raise ValueError(
                f"ProfilingDiT's list for {name} is of a model with {_counted(profile.shape)}, this one has "
                f"{_counted(shape)}: in mask of DiCache Policy {WRITE_BLOCKS}"
            )
        return shape.stretches(profile.blocks)

    def planned_error(self, obs: Observation) -> float:
        return math.inf if not obs.step.planned or self._computes(obs.step, obs.segment.part) else 0.0

    def _computes(self, step: ModelCall, part: int) -> bool:
        number, profile = step.global_step, None if self.config.mask else PROFILES.get(self.config.architecture)
        listed = None if profile is None else profile.computed.get(profile.shape.names[part])
        regular = listed is None or number >= STEPS
        return number < FIRST or (number % EVERY == 0 if regular else number in listed)


def _counted(shape: StackShape) -> str:
    """``"20 double and 40 single blocks"``."""
    if len(shape.parts) == 1:
        return f"{shape.blocks} blocks"
    return " and ".join(f"{count} {name}" for count, name in zip(shape.parts, shape.names, strict=True)) + " blocks"


POLICIES = (
    NamedPolicy(
        "profilingdit",
        "ProfilingDiT",
        Group.PARTS,
        when="a list says which blocks are skipped, at most steps",
        how="what each stretch of blocks last added",
        policy=Policy(ProfilingDiT.name, Reuse.name, warmup_steps=1),
        source=Source("ProfilingDiT", "2504.03140"),
    ),
)
