"""One forward pass of the model, with the cache around it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from comfy.patcher_extension import WrapperExecutor
from torch import Tensor

from ..dicache_core import OUT_OF_MEMORY, CacheError, CacheOutOfMemoryError, CacheSession, ForwardPass, Stopwatch
from .compiling import uncompiled
from .family import Family
from .identity import StreamBook, hook_strengths, leaders
from .reporter import Reporter
from .sigma import read_sigma
from .stack import stack_around

KEY = "dicache"

log = logging.getLogger("dicache")


class CachedPass:
    """``APPLY_MODEL`` wrapper: one call of the model as its sampler sees it, every model of the host alike.

    The schedule says what policies in output space forecast: the picture that the model sees, or the direction
    ``d = (x - denoised) / sigma`` that the sampler takes, which is dx/dsigma for every prediction type.
    """

    def __init__(self, family: Family | None, session: CacheSession, reporter: Reporter) -> None:
        self.family = family
        self.session = session
        self.reporter = reporter
        self.streams = StreamBook(session.schedule.lanes)
        self._signatures: dict[
            Callable[..., Any], inspect.Signature
        ] = {}  # reading one takes longer than all else here

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        call = self._bind(executor, args, kwargs)
        options = call.arguments["transformer_options"]
        if not options.get("uuids") or options.get("sigmas") is None:
            return executor(*args, **kwargs)  # not a pass of the sampler's: nothing tells which stream it is
        x = call.arguments["x"]
        stopwatch = Stopwatch(x.device)
        sigma = read_sigma(options["sigmas"])
        if sigma == 0:
            return executor(*args, **kwargs)  # behind the end of every schedule, and no direction to go
        hooks = hook_strengths(executor.class_obj)
        lane, call_in_lane, keys = self.streams.keys(options, sigma, x.shape[0], x.device, hooks)
        step = self.session.schedule.step_at(sigma, lane, call_in_lane)
        cached = not self.session.never_reuses
        followed = self._leaders(options, x.shape[0])
        try:
            cache = self.session.forward(keys, step, x, followed)
            denoised = self._run(executor, call, cache, sigma)
        except (CacheError, OUT_OF_MEMORY) as error:
            # The model's own shortage may be the cache's fault.  Where ranks decide together, one alone cannot give up.
            if not cached or self.session.reduce is not None:
                raise
            self._give_up(error)
            denoised, call, cache = None, self._bind(executor, args, kwargs), None
        if denoised is None:  # out here the failed pass's tensors, which its traceback kept alive, are gone
            cache = self.session.forward(keys, step, x, followed)
            denoised = self._run(executor, call, cache, sigma)
        self.session.close(cache, stopwatch)
        self.reporter.step()
        return denoised

    def _leaders(self, options: Mapping[str, Any], samples: int) -> dict[int, int]:
        """Pairs are of use only where blocks can be given one row of a pair without the other."""
        splits = self.family is not None and bool(self.family.batched)
        return leaders(options, samples) if splits and self.session.wants_leaders else {}

    def _bind(self, executor: WrapperExecutor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        original = executor.original
        if original not in self._signatures:
            self._signatures[original] = inspect.signature(original)
        return bound(self._signatures[original], args, kwargs)

    def _give_up(self, error: Exception) -> None:
        """Once per run, whichever thread gets here first."""
        if not self.session.abandoned:
            kind = type(error) if isinstance(error, CacheError) else CacheOutOfMemoryError
            self.session.abandon(kind.reason)
            # As text: whoever keeps the record would keep the error, its traceback, and all that the failed pass held.
            log.warning("DiCache: %s (%s); the rest of this run is computed without it.", kind.found, str(error))

    def _run(self, executor: WrapperExecutor, call: inspect.BoundArguments, cache: ForwardPass, sigma: float) -> Tensor:
        x = call.arguments["x"]
        if not self.session.needs_no_stack:
            denoised = self._through_stack(executor, call, cache)
        elif all(cache.decide()):
            return self._denoised(x, cache.forecast(), sigma)
        else:
            denoised = executor(*call.args, **call.kwargs)
        if not self.session.forecasts_output:
            return denoised
        outputs = cache.observe(self._output(x, denoised, sigma), denoised)
        if not any(cache.changed):
            return denoised  # the host's own tensor: what is not touched stays as it is, to the last bit
        return self._denoised(x, outputs, sigma)

    def _through_stack(self, executor: WrapperExecutor, call: inspect.BoundArguments, cache: ForwardPass) -> Tensor:
        with stack_around(self.family, uncompiled(executor.class_obj.diffusion_model), cache):
            denoised = executor(*call.args, **call.kwargs)
        cache.require_whole()
        return denoised

    def _output(self, x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
        return denoised.clone() if self._in_pictures else (x - denoised) / sigma

    def _denoised(self, x: Tensor, outputs: Tensor, sigma: float) -> Tensor:
        return outputs if self._in_pictures else x - sigma * outputs

    @property
    def _in_pictures(self) -> bool:
        return self.session.schedule.of_pictures and not self.session.builds_on_latent


def bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """The wrapped function's arguments by name; where an argument stands differs between models and host versions."""
    found = signature.bind(*args, **kwargs)
    found.apply_defaults()
    return found
