"""Says in the metadata of saved pictures and videos, and in the server's history, how they were sampled.

The host's save nodes write the prompt into the file, and a prompt's nodes have a place for notes, ``_meta``, where the
front end keeps their titles.  A run that ends writes itself there, at the node it belongs to, so whatever is saved
behind its sampler carries it.
"""

from __future__ import annotations

from typing import Any

from comfy_execution.progress import get_progress_state

from ..dicache_core import RunStatistics

KEY = "dicache"
LONG = ("lanes", "seconds_per_step")  # DiCache Report has them


def enter_run(run: RunStatistics, node_id: str, running: list[tuple]) -> None:
    """Note a run at its node, in the prompt that is executed and in the copy that ``running`` keeps for the history."""
    brief = {key: value for key, value in run.summary().items() if key not in LONG}
    prompts = [get_progress_state().dynprompt.get_original_prompt()]
    prompts += [prompt for _number, prompt_id, prompt, *_rest in running if prompt_id == run.prompt]
    for prompt in prompts:
        meta: dict[str, Any] = prompt.get(node_id, {}).setdefault("_meta", {})
        meta.setdefault(KEY, []).append(brief)
