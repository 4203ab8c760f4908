"""Step caches of other nodes on the same model: with two of them each skips on top of the other, and the image is lost.

Most say who they are in the names of what they put on a model.  One whose name is not known is noticed by what it does:
it answers a call in the network's place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP

KNOWN = {  # how names in code begin, without "_" and in lower case, and what people call it
    "easycache": "EasyCache",
    "lazycache": "LazyCache",
    "teacache": "TeaCache",
    "magcache": "MagCache",
    "fbcache": "First Block Cache (WaveSpeed)",
    "firstblockcache": "First Block Cache (WaveSpeed)",
    "blockcache": "a block cache",
    "cachedit": "cache-dit",
    "taylorseer": "TaylorSeer",
    "deepcache": "DeepCache",
    "tgate": "T-GATE",
}
NAMES = re.compile("|".join(KNOWN))
ONE_CACHE = "Two step caches together ruin the image, so DiCache skips nothing. Remove one of them."
COMPILED = "torch.compile"  # the host's key for the wrapper that compiles a whole model


def other_cache_on(patcher: ModelPatcher, options: Mapping[str, Any]) -> str | None:
    """The name of another step cache among what other nodes have put on a model; ``None`` where there is none known."""
    for name in _names(patcher, options):
        if found := NAMES.search(name.lower().replace("_", "").replace("-", "")):
            return KNOWN[found.group()]
    return None


def _names(patcher: ModelPatcher, options: Mapping[str, Any]) -> Iterator[str]:
    for wrappers in (patcher.wrappers, options.get("transformer_options", {}).get("wrappers", {})):
        for of_kind in wrappers.values():
            for key, found in of_kind.items():
                yield str(key)
                yield from map(_name, found)
    for key, patch in patcher.object_patches.items():
        yield str(key)
        yield _name(patch)
    if (around := options.get("model_function_wrapper")) is not None:
        yield _name(around)


def _name(wrapper: Any) -> str:
    """Module and name of a function, or of the class of an object that is called."""
    named = wrapper if hasattr(wrapper, "__qualname__") else type(wrapper)
    return f"{named.__module__}.{named.__qualname__}"


class NetworkWatch:
    """Whether a network itself ran in a call that another node's ``DIFFUSION_MODEL`` wrappers stand around.

    Nothing stands inside of a compiled model, whose graph would be made anew for it in every run.  A network that never
    comes to such wrappers tells nothing, whatever another one of the same run does.
    """

    def __init__(self) -> None:
        self._come: set[Any] = set()  # networks that came to these wrappers in some call

    def inside(self, options: Mapping[str, Any], key: str) -> tuple[Mapping[str, Any], WatchedCall] | None:
        """``transformer_options`` of a call with a wrapper inside of all others, and that; ``None`` without others."""
        wrappers = options.get("wrappers", {})
        others = wrappers.get(WrappersMP.DIFFUSION_MODEL, {})
        if not any(others.values()) or wrappers.get(WrappersMP.APPLY_MODEL, {}).get(COMPILED):
            return None
        call = WatchedCall()
        return {**options, "wrappers": {**wrappers, WrappersMP.DIFFUSION_MODEL: {**others, key: [call]}}}, call

    def bypassed(self, network: Any, call: WatchedCall) -> bool:
        """Whether a call of ``network`` that has ended did without it."""
        if call.ran:
            self._come.add(network)
        return not call.ran and network in self._come


class WatchedCall:
    """The innermost wrapper of one call."""

    def __init__(self) -> None:
        self.ran = False

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Any:
        self.ran = True
        return executor(*args, **kwargs)


def bypassing(options: Mapping[str, Any]) -> str:
    """What people may know the node by that answers in the network's place: where its wrapper comes from."""
    others = options["wrappers"][WrappersMP.DIFFUSION_MODEL]
    return ", ".join(_name(wrapper) for found in others.values() for wrapper in found)
