"""Putting a cache around a ModelPatcher's sampling, through the host's own wrappers, and nothing else.

The patched model carries one ``OUTER_SAMPLE`` wrapper with the settings.  Each sampling run makes its own session and
adds a ``DIFFUSION_MODEL`` wrapper to the run's options; both end with the run, whichever way it ends.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
from typing import Any

import comfy.model_patcher
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, add_wrapper_with_key

from ..dicache_core import CacheConfig, CacheSession, Reducer, RunLog, RunStatistics, SampleCache
from .adapter import Adapter
from .compiling import BlockByBlock
from .memory import MemoryPlan
from .passes import KEY, CachedPass, bound
from .place import puts_out_pictures, schedule_of
from .registry import adapter_for
from .reporter import Reporter, current_prompt
from .sampler import Conduct, SamplerAnswer, ask

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
            f"write 1 to {blocks - 1}, or 0 for the published depth"
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
        run = bound(inspect.signature(executor.original), args, kwargs).arguments
        sigmas = run["sigmas"]
        if len(sigmas) < 2:
            return executor(*args, **kwargs)
        guider = executor.class_obj
        sampling = guider.model_patcher.get_model_object("model_sampling")
        answer = ask(run["sampler"], sigmas, sampling, getattr(guider, "cfg", None))
        session = CacheSession(
            self._settings(sampling, answer), schedule_of(sigmas, sampling, answer.lanes), self.reduce
        )
        reporter = self._reporter(session)
        original = guider.model_options
        try:
            guider.model_options = comfy.model_patcher.create_model_options_clone(original)
            self._wrap(guider, session, CachedPass(self.adapter, session, reporter, answer.forecasts_denoised))
            return executor(*args, **kwargs)
        finally:
            guider.model_options = original
            session.statistics.finished = True
            reporter.end()

    def _settings(self, sampling: Any, answer: SamplerAnswer) -> CacheConfig:
        """The config, or one that computes everything where nothing can be skipped soundly."""
        if puts_out_pictures(sampling):
            log.info(
                "DiCache: this model puts out the picture itself, which nothing can be forecast by: all is computed."
            )
        elif answer.conduct is Conduct.ERRATIC:
            log.info(
                "DiCache: this sampler chooses its steps by what it sees, so none can be skipped: all is computed."
            )
        else:
            return self.config
        return dataclasses.replace(self.config, threshold=0.0)

    def _reporter(self, session: CacheSession) -> Reporter:
        session.statistics.architecture = self.adapter.name
        session.statistics.prompt = current_prompt()
        if self.runs is not None:
            self.runs.append(session.statistics)
        self._run_count += 1
        reporter = Reporter(session.statistics, self.node_id, self._run_count)
        reporter.begin()
        return reporter

    def _wrap(self, guider: Any, session: CacheSession, passes: CachedPass) -> None:
        """Put this run's wrappers into the guider's options, which are a copy of the run's own."""
        options = guider.model_options
        wrappers = [(WrappersMP.APPLY_MODEL, passes)]
        if not session.needs_no_stack:
            wrappers += [
                (WrappersMP.APPLY_MODEL, BlockByBlock(options)),
                (WrappersMP.PREPARE_SAMPLING, MemoryPlan(self.adapter, session, guider)),
            ]
        for kind, wrapper in wrappers:
            add_wrapper_with_key(kind, KEY, wrapper, options, is_model_options=True)
