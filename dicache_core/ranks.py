"""Sums over the processes that share one sample, for decisions that all of them take alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import torch.distributed as dist
from torch import Tensor

from .reductions import Reducer

PATIENCE = timedelta(minutes=2)  # between two ranks that come to the same decision; more than any block takes


class RankLostError(RuntimeError):
    """Another rank did not come to a decision that all of them have to take."""


def summed_over(groups: Sequence[dist.ProcessGroup], patience: timedelta = PATIENCE) -> Reducer | None:
    """A reducer that adds up sums ``(S,)`` over one group of ranks after another; ``None`` without any.

    Where each sample is shared in two ways, tokens by some ranks and conds by others, one group after the other makes
    the sum over all of them.  It waits ``patience`` for the other ranks of a group: a rank that died must
    not leave the others waiting for ever.

    Raises:
        RankLostError: by the reducer, after that time.
    """
    if not groups:
        return None

    def reduce(sums: Tensor) -> Tensor:
        for group in groups:
            try:
                dist.all_reduce(sums, group=group, async_op=True).wait(patience)
            except RuntimeError as error:
                raise RankLostError(
                    "another rank of this run is gone or stuck "
                    f"(DiCache waited {patience.total_seconds():.0f} s). Its log says why. Start the run again."
                ) from error
        return sums

    return reduce
