"""Says in the metadata of saved pictures and videos, and in the server's history, how they were sampled.

The host's save nodes write the prompt into the file, and a prompt's nodes have a place for notes, ``_meta``, where the
front end keeps their titles.  A run that ends writes itself there, at the node it belongs to, so whatever is saved
behind its sampler carries it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..dicache_core import RunStatistics

KEY = "dicache"
LONG = ("lanes", "seconds_per_step")  # DiCache Report has them


def enter_run(run: RunStatistics, node_id: str, prompts: Iterable[dict[str, dict]]) -> None:
    """Note a run at its node in each of the prompts, ``{node id: node}``."""
    brief = {key: value for key, value in run.summary().items() if key not in LONG}
    for prompt in prompts:
        meta: dict[str, Any] = prompt.get(node_id, {}).setdefault("_meta", {})
        meta.setdefault(KEY, []).append(brief)
