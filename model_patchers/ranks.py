"""One rank of several that sample together: what it shares with which others, and its part of a cached run.

raylight starts a process per device, each with its own model, and splits the work in up to three ways by xDiT's groups:
tokens of every sample, conds of every batch, blocks of the network.  Everything here runs in such a process.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..dicache_core import CacheConfig, RunLog, RunStatistics
from ..dicache_core.ranks import summed_over
from .attach import KEY, attach
from .family import class_name
from .registry import architecture_of, family_of

GROUPS = "xfuser.core.distributed"  # xDiT's module of groups, which raylight has loaded where it uses them


@dataclass(frozen=True)
class Shared:
    """How a rank shares the work on its model.

    Attributes:
        architecture: of the model.
        sliced: whether all blocks hold the same slice of the image on a rank, see ``Family.sliced``.
        tokens, conds, stages: ranks over which the tokens of a sample, the conds of a batch and the blocks are split;
            1 where they are not.
    """

    architecture: str
    sliced: bool
    tokens: int = 1
    conds: int = 1
    stages: int = 1

    @property
    def breaks_stack(self) -> str | None:
        """Why a rule that looks at blocks cannot work here; ``None`` where it can."""
        if self.conds > 1:
            return f"positive and negative are split over {self.conds} ranks"
        if self.tokens > 1 and not self.sliced:
            return f"the tokens are split over {self.tokens} ranks, and not every block has the same ones"
        return None


def shared(model: ModelPatcher) -> Shared:
    """How this rank shares the work on ``model``."""
    network = model.model.diffusion_model
    family = family_of(network)
    # A reference in front of the image (Wan Fun) would be on the first rank alone.
    sliced = family is not None and class_name(network) in family.sliced and getattr(network, "ref_conv", None) is None
    sizes = {name: 1 if (group := _group(name)) is None else group.world_size for name in ("sp", "cfg", "pp")}
    return Shared(architecture_of(model), sliced, sizes["sp"], sizes["cfg"], sizes["pp"])


def attach_here(model: ModelPatcher, settings: Mapping[str, Any]) -> ModelPatcher:
    """``attach`` on one rank: ``settings`` are the fields of a ``CacheConfig``, sums go over the ranks that share."""
    return attach(model, CacheConfig(**settings), runs=RunLog(), reduce=summed_over(sharing_groups(model)))


def sharing_groups(model: ModelPatcher) -> list[dist.ProcessGroup]:
    """The groups of ranks that have to enter the same blocks on every step, this one among them.

    They are those that hold tokens or conds of the same samples.  Where the weights are shared out (FSDP), every rank
    that has a part of them brings it block by block, whatever it samples.
    """
    if hasattr(model, "patch_fsdp") and dist.is_initialized() and dist.get_world_size() > 1:
        return [dist.group.WORLD]
    groups = [_group(name) for name in ("sp", "cfg")]
    return [group.device_group for group in groups if group is not None and group.world_size > 1]


def taken_runs(model: ModelPatcher) -> list[RunStatistics]:
    """The runs through this rank's cache since they were last asked for."""
    wrappers = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return [run.detached() for sampling in wrappers for run in sampling.runs.take()]


def _group(name: str) -> Any:
    """xDiT's group coordinator ("sp", "cfg", "pp"); ``None`` in a process that has no such groups."""
    groups = sys.modules.get(GROUPS)
    if groups is None or not groups.model_parallel_is_initialized():
        return None
    return getattr(groups, f"get_{name}_group")()
