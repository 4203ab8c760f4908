"""Caching where raylight samples: its Ray actors hold the models, and functions are sent to them.

A function that is sent has to load this pack on the other side before anything of it can arrive there, so it is local
to one that knows where the pack is, takes and gives plain values, and what it needs it imports itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import folder_paths

from ..dicache_core import DEFAULT_PRESET, CacheConfig, Policy, RunLog, RunStatistics, needs_stack, resolve
from ..dicache_core.methods.indicators import indicator_class
from ..dicache_core.policies import title
from .ranks import Shared
from .run_reporter import current_prompt

PACK = Path(__file__).absolute().parents[1]  # not resolved: its name in custom_nodes is what other machines share
PACK_NAME = __package__.rpartition(".")[0]

Actors = dict[str, Any]  # the value of raylight's RAY_ACTORS sockets

WORKING = (
    "choose the preset fidelity, balanced or fast with -1 there and no policy, or a policy that reuses the model's "
    "output, such as easycache or output_line"
)

log = logging.getLogger("dicache")


def has_raylight() -> bool:
    """Whether raylight is loaded, or stands where the host will load it from: no order of packs is promised."""
    places = [Path(folder) for folder in folder_paths.get_folder_paths("custom_nodes")]
    waiting = (pack for place in places for pack in place.glob("*/src/raylight/nodes.py"))
    return "raylight" in sys.modules or any(not p.parents[2].name.endswith(".disabled") for p in waiting)


def attach_to_actors(actors: Actors, preset: str, policy: Policy | None, **numbers: Any) -> tuple[Actors, RankZeroLog]:
    """Put a cache around the model of every actor; ``numbers`` as ``resolve`` takes them.

    Raises:
        ValueError: for what ``resolve`` and ``attach`` refuse, and for rules that cannot work as the work is split.
    """
    from raylight.comfy_extra_dist.ray_patch_decorator import ray_patch, ray_patch_with_return

    ways = ray_patch_with_return(on_rank("shared"))(None, actors)
    config = usable(ways, preset, policy, **numbers)
    try:
        (patched,) = ray_patch(on_rank("attach_here"))(None, actors, asdict(config))
    except Exception as error:
        refused = getattr(error, "cause", None)  # Ray's error shows the whole traceback of the other process
        if isinstance(refused, ValueError):
            raise ValueError(str(refused)) from error
        raise
    return patched, RankZeroLog(patched)


def usable(ways: Shared, preset: str, policy: Policy | None, **numbers: Any) -> CacheConfig:
    """The settings as ``resolve`` understands them, with rules that work where the work is split in these ``ways``.

    A preset that looks at blocks gives way to the default one, and the log says so; a method that was asked for by
    name or by number is refused.
    """
    if ways.stages > 1:
        raise ValueError(
            f"the model's blocks are split over {ways.stages} ranks (PipeFusion), which already reuse parts of earlier "
            "steps: remove the DiCache node, or set pp_degree to 1"
        )
    config = resolve(ways.architecture, preset, policy, **numbers)
    if ways.tokens > 1 and config.threshold > 0 and indicator_class(config.indicator).wants_grid:
        raise ValueError(
            f"{title(config.indicator)} filters all tokens of an image together, but they are split over {ways.tokens} "
            f"ranks: {WORKING}"
        )
    if not needs_stack(config) or (reason := ways.breaks_stack) is None:
        return config
    if policy is not None:
        raise ValueError(f"the connected policy looks at the model's blocks, but {reason}: {WORKING}")
    for name in ("threshold", "probe_depth"):
        if numbers.get(name) is not None:
            raise ValueError(f"{name} belongs to a method that looks at the model's blocks, but {reason}: {WORKING}")
    log.warning(
        "DiCache: the preset %s looks at the model's blocks, but %s: %s is used.", preset, reason, DEFAULT_PRESET
    )
    return resolve(ways.architecture, DEFAULT_PRESET, **numbers)


class RankZeroLog:
    """In place of a ``RunLog``: what rank 0's cache did, fetched when somebody looks."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._log = RunLog()

    @property
    def runs(self) -> list[RunStatistics]:
        """As ``RunLog.runs``; on the ranks there are no prompts, so new runs belong to the prompt that asks."""
        from raylight.comfy_extra_dist.ray_patch_decorator import ray_patch_with_return

        for run in ray_patch_with_return(on_rank("taken_runs"))(None, self._actors):
            run.prompt = current_prompt()
            self._log.append(run)
        return self._log.runs


def on_rank(function: str) -> Callable[..., Any]:
    """A function of ``ranks.py`` in the form that raylight sends to its actors, ``(node, model, ...)``."""
    folder, name = str(PACK), PACK_NAME

    def call(_node: None, model: Any, *arguments: Any) -> Any:
        import importlib.util
        import sys
        from pathlib import Path

        import comfy.utils

        if name not in sys.modules:
            beside_comfy = Path(comfy.utils.__file__).parents[1] / "custom_nodes" / Path(folder).name
            places = [place for place in (Path(folder), beside_comfy) if (place / "__init__.py").is_file()]
            if not places:
                raise FileNotFoundError(
                    f"this rank has no ComfyUI-DiCache, neither in {folder} nor in {beside_comfy}: install it there too"
                )
            here = str(places[0])
            spec = importlib.util.spec_from_file_location(
                name, f"{here}/__init__.py", submodule_search_locations=[here]
            )
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        ranks = importlib.import_module(f"{name}.model_patchers.ranks")
        return getattr(ranks, function)(model, *arguments)

    return call
