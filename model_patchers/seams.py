"""The arguments of the host's functions that wrappers stand around, by name.

A guider's own method, or another pack's function in the place of the host's, may take ``(*args, **kwargs)`` or call
its arguments otherwise.  It is called as the host's function is called all the same, so what its own names do not tell
the host's tell.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

Function = Callable[..., Any]


class Seam:
    """One function of the host's.

    ``host`` has its parameters, in its order; ``needed`` are the names that somebody reads.
    """

    def __init__(self, host: Function, *needed: str) -> None:
        self._host = inspect.signature(host)
        self._needed = needed
        self._signatures: dict[Function, inspect.Signature] = {}  # reading one takes longer than binding

    def bind(self, function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """The arguments of a call of ``function``, which stands where the host's does, by name."""
        found = self._signature(function).bind(*args, **kwargs)
        found.apply_defaults()
        return found

    def _signature(self, function: Function) -> inspect.Signature:
        if function not in self._signatures:
            own = inspect.signature(function)
            named = all(name in own.parameters for name in self._needed)
            self._signatures[function] = own if named else self._host
        return self._signatures[function]


def outer_sample() -> Seam:
    """``CFGGuider.outer_sample``: one run of a sampler."""

    def host(
        noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None, disable_pbar=False, seed=None,
        latent_shapes=None, **more,
    ):  # fmt: skip
        pass

    return Seam(host, "sampler", "sigmas")


def apply_model() -> Seam:
    """``BaseModel._apply_model``: one call of the model."""

    def host(x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=MappingProxyType({}), **more):
        pass

    return Seam(host, "x", "control", "transformer_options")


def prepare_sampling() -> Seam:
    """``comfy.sampler_helpers._prepare_sampling``: weights are placed before a run."""

    def host(model, noise_shape, conds, model_options=None, *more, **named):
        pass

    return Seam(host, "model", "noise_shape", "conds")
