"""Putting a cache around a ModelPatcher's sampling, through the host's own wrappers, and nothing else.

The patched model carries one ``OUTER_SAMPLE`` wrapper with the settings.  Each sampling run makes its own session and
adds a ``DIFFUSION_MODEL`` wrapper to the run's options; both end with the run, whichever way it ends.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from collections.abc import Callable
from typing import Any

import comfy.model_patcher
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, add_wrapper_with_key

from ..dicache_core import (
    OUT_OF_MEMORY,
    CacheConfig,
    CacheOutOfMemoryError,
    CacheSession,
    ForwardPass,
    Reducer,
    RunLog,
    RunStatistics,
    SampleCache,
    Stopwatch,
)
from .adapter import Adapter
from .compiling import BlockByBlock
from .compose import CachedStack
from .identity import StreamBook
from .memory import MemoryPlan
from .place import keeps_to_schedule, schedule_of
from .registry import adapter_for
from .reporter import Reporter, current_prompt
from .sigma import SigmaReading

KEY = "dicache"

log = logging.getLogger("dicache")


def attach(
    model: ModelPatcher,
    config: CacheConfig,
    node_id: str | None = None,
    runs: RunLog | list[RunStatistics] | None = None,
    reduce: Reducer | None = None,
) -> ModelPatcher:
    """A clone of ``model`` that samples through a cache with these settings.

    ``node_id`` names the node that shows the live view; the statistics of each run are appended to ``runs``.
    Where each process holds a slice of the tokens, ``reduce`` adds up sums ``(S,)`` over all of them, see
    docs/several_devices.md.  Raises ``ValueError`` for a model that no adapter covers, a probe deeper than its stack,
    and rules that lack something (a curve, say) or do not go together.
    """
    adapter = adapter_for(model.model.diffusion_model)
    blocks = len(adapter.blocks(model.model.diffusion_model))
    if config.probe_depth >= blocks:
        raise ValueError(
            f"probe_depth is {config.probe_depth}, but this {adapter.name} model has {blocks} blocks: "
            f"write 1 to {blocks - 1}, or -1 (automatic)"
        )
    SampleCache(config)  # rules complain here about what they lack, not in the middle of a run
    patched = detach(model)
    if patched.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY) != model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY):
        log.info("DiCache: the model already had a DiCache node; the later one's settings are used.")
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, CachedSampling(adapter, config, node_id, runs, reduce))
    return patched


def detach(model: ModelPatcher) -> ModelPatcher:
    """A clone of ``model`` without a cache."""
    plain = model.clone()
    plain.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    return plain


class CachedSampling:
    """``OUTER_SAMPLE`` wrapper: one session per run."""

    def __init__(
        self,
        adapter: Adapter,
        config: CacheConfig,
        node_id: str | None,
        runs: RunLog | list[RunStatistics] | None,
        reduce: Reducer | None = None,
    ) -> None:
        self.adapter = adapter
        self.config = config
        self.node_id = node_id
        self.runs = runs
        self.reduce = reduce
        self._run_count = 0

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Any:
        run = _bound(inspect.signature(executor.original), args, kwargs).arguments
        sigmas, config = run["sigmas"], self.config
        if len(sigmas) < 2:
            return executor(*args, **kwargs)
        if not keeps_to_schedule(run["sampler"]):
            log.info("DiCache: this sampler places its own sigmas, which cannot be cached soundly: all is computed.")
            config = dataclasses.replace(config, threshold=0.0)
        guider = executor.class_obj
        original = guider.model_options
        session = CacheSession(config, schedule_of(sigmas, guider.model_patcher), self.reduce)
        session.statistics.architecture = self.adapter.name
        session.statistics.prompt = current_prompt()
        if self.runs is not None:
            self.runs.append(session.statistics)
        self._run_count += 1
        reporter = Reporter(session.statistics, self.node_id, self._run_count)
        reporter.begin()
        try:
            guider.model_options = comfy.model_patcher.create_model_options_clone(original)
            wrapper = CachedForward(self.adapter, session, reporter)
            add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, wrapper, guider.model_options, is_model_options=True)
            compiling = BlockByBlock(original)
            add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, compiling, guider.model_options, is_model_options=True)
            plan = MemoryPlan(self.adapter, session, guider)
            add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, plan, guider.model_options, is_model_options=True)
            return executor(*args, **kwargs)
        finally:
            guider.model_options = original
            session.statistics.finished = True
            reporter.end()


class CachedForward:
    """``DIFFUSION_MODEL`` wrapper: one forward pass of the model, with the cache around its block stack."""

    def __init__(self, adapter: Adapter, session: CacheSession, reporter: Reporter) -> None:
        self.adapter = adapter
        self.session = session
        self.reporter = reporter
        self.streams = StreamBook()
        self._signatures: dict[
            Callable[..., Any], inspect.Signature
        ] = {}  # reading one takes longer than all else here

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Any:
        call = self._bind(executor, args, kwargs)
        options = call.arguments["transformer_options"]
        if not options.get("uuids") or options.get("sigmas") is None:
            return executor(*args, **kwargs)  # not a pass of the sampler's: nothing tells which stream it is
        x = call.arguments["x"]
        stopwatch = Stopwatch(x.device)
        sigma = SigmaReading(options["sigmas"]).value
        keys = self.streams.keys(options, sigma, x.shape[0], x.device)
        step = self.session.schedule.step_at(sigma)
        cached = not self.session.never_reuses
        try:
            cache = self.session.forward(keys, step, x)
            v = self._run(executor, call, cache)
        except (CacheOutOfMemoryError, OUT_OF_MEMORY) as error:
            # The model's own shortage may be the cache's fault.  Where ranks decide together, one alone cannot give up.
            if not cached or self.session.reduce is not None:
                raise
            self._give_up(error)
            v, call, cache = None, self._bind(executor, args, kwargs), None
        if v is None:  # out here the failed pass's tensors, which its traceback kept alive, are gone
            cache = self.session.forward(keys, step, x)
            v = self._run(executor, call, cache)
        self.session.close(cache, stopwatch)
        self.reporter.step()
        return v

    def _bind(self, executor: WrapperExecutor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        original = executor.original
        if original not in self._signatures:
            self._signatures[original] = inspect.signature(original)
        return _bound(self._signatures[original], args, kwargs)

    def _give_up(self, error: Exception) -> None:
        """Once per run, whichever thread gets here first."""
        if not self.session.abandoned:
            self.session.abandon()
            # As text: whoever keeps the record would keep the error, its traceback, and all that the failed pass held.
            log.warning(
                "DiCache: no memory left for the cache (%s); the rest of this run is computed without it.", str(error)
            )

    def _run(self, executor: WrapperExecutor, call: inspect.BoundArguments, cache: ForwardPass) -> Any:
        if self.session.needs_no_stack:
            return cache.forecast() if all(cache.decide()) else cache.observe(executor(*call.args, **call.kwargs))
        options = call.arguments["transformer_options"]
        stack = CachedStack(self.adapter, executor.class_obj, cache, call.arguments)
        replace = options.get("patches_replace", {})
        foreign = replace.get("dit", {})
        dit = {**foreign, **stack.replacements(foreign)}
        call.arguments["transformer_options"] = {**options, "patches_replace": {**replace, "dit": dit}}
        try:
            return cache.observe(executor(*call.args, **call.kwargs))
        finally:
            stack.restore()


def _bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """The wrapped function's arguments by name; where an argument stands differs between models and host versions."""
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound
