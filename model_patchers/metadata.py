"""Says in the metadata of saved pictures and videos how they were sampled.

The host's save nodes write every entry of the prompt's ``extra_pnginfo`` into the file, where the front end keeps the
workflow too.  A run that ends adds itself there, so whatever is saved behind its sampler carries it, and so does the
prompt in the server's history.  A client of the API that sends no ``extra_pnginfo`` gets files without metadata.
"""

from __future__ import annotations

from typing import Any

from ..dicache_core import RunStatistics

KEY = "dicache"
LONG = ("lanes", "seconds_per_step")  # DiCache Report has them


def enter_run(run: RunStatistics, node_id: str, running: list[tuple]) -> None:
    """Add a run of a node to the metadata of its prompt, one of those that the server works on."""
    for _number, prompt_id, _prompt, extra_data, *_rest in running:
        written: dict[str, Any] | None = extra_data.get("extra_pnginfo")
        if prompt_id == run.prompt and written is not None:
            brief = {key: value for key, value in run.summary().items() if key not in LONG}
            written.setdefault(KEY, []).append({"node": node_id, **brief})
