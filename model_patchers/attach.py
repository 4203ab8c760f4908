"""Putting a cache around a ModelPatcher's sampling, through the host's own wrappers, and nothing else.

The patched model carries one ``OUTER_SAMPLE`` wrapper with the settings.  Each sampling run makes its own session and
adds an ``APPLY_MODEL`` wrapper to the run's options; both end with the run, whichever way it ends.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import comfy.model_patcher
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, add_wrapper_with_key
from comfy.samplers import Sampler
from torch import Tensor

from ..dicache_core import (
    CacheConfig,
    CacheSession,
    Reason,
    RunContext,
    RunLog,
    RunStatistics,
    TunedSettings,
    needs_stack,
)
from ..dicache_core.engine.sample_history import SampleHistory
from ..dicache_core.reductions import Reducer
from ..dicache_core.schedule import FEW_VALUES, Schedule
from ..dicache_core.tuning.context import SamplerFamily, TunedMatch
from .apply_model import KEY, CachedPass
from .autoregressive import is_autoregressive
from .comfy_compiler import beside_compiler, compiler_off
from .compiling import BlockByBlock, uncompiled
from .family import Family
from .frames import with_room
from .memory import MemoryPlan
from .other_caches import ONE_CACHE, other_cache_on
from .registry import architecture_of, check_stack, family_of, shape_for
from .run_reporter import RunReporter, current_prompt
from .run_schedule import predicts_image, schedule_of
from .sampler_probe import NOT_PROBED, SamplerKind, SamplerProfile, probe_sampler
from .seams import outer_sample
from .server_events import ServerEvents

log = logging.getLogger("dicache")


def attach(
    model: ModelPatcher,
    config: CacheConfig | TunedSettings,
    node_id: str | None = None,
    runs: RunLog | list[RunStatistics] | None = None,
    reduce: Reducer | None = None,
) -> ModelPatcher:
    """A clone of ``model`` that samples through a cache with these settings.

    ``node_id`` names the node that shows the live view; the statistics of each run are appended to ``runs``.
    Where each process holds a slice of the tokens, ``reduce`` adds up sums ``(S,)`` over all of them, see
    docs/several_devices.md.  ``TunedSettings`` are decided on when a run begins.

    Raises:
        ValueError: for a model of no known family, a probe deeper than its stack, and rules that lack something (a
            calibration, say) or do not go together.
    """
    family = family_of(model.model.diffusion_model)
    for possible in [config] if isinstance(config, CacheConfig) else [config.fallback, *config.configs.values()]:
        if needs_stack(possible):
            check_stack(family, model.model.diffusion_model, possible)
        SampleHistory(possible)  # rules complain here about what they lack, not in the middle of a run
    patched = detach(model)
    if patched.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY) != model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY):
        log.info("DiCache: two DiCache nodes changed this model. The settings of the later one are used.")
    sampling = CachedSampling(family, architecture_of(model), config, node_id, runs, reduce, _caches_on(model))
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, sampling)
    return patched


def detach(model: ModelPatcher) -> ModelPatcher:
    """A clone of ``model`` without a cache."""
    plain = model.clone()
    plain.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, KEY)
    return plain


def override(model: ModelPatcher, node_id: str | None) -> None:
    """Tell the nodes whose caches ``model`` has that another node samples without them; ``node_id`` names it."""
    for cache in _caches_on(model):
        cache.give_way(node_id)


def _caches_on(model: ModelPatcher) -> list[CachedSampling]:
    """The cache that a model has, and those that it took the place of."""
    found = model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY)
    return [*found, *(earlier for cache in found for earlier in cache.overridden)]


class CachedSampling:
    """``OUTER_SAMPLE`` wrapper: one session per run.

    ``overridden`` are the caches of DiCache nodes before this one, which do not sample here.
    """

    def __init__(
        self,
        family: Family | None,
        architecture: str,
        config: CacheConfig | TunedSettings,
        node_id: str | None,
        runs: RunLog | list[RunStatistics] | None,
        reduce: Reducer | None = None,
        overridden: Sequence[CachedSampling] = (),
    ) -> None:
        self.family = family
        self.architecture = architecture
        self.config = config
        self.node_id = node_id
        self.runs = runs
        self.reduce = reduce
        self.overridden = overridden
        self._sampled_in: str | None = None  # the latest prompt

    def give_way(self, node_id: str | None) -> None:
        """Say that another node samples in this one's place, where this one has not sampled in the same prompt too."""
        prompt = current_prompt()
        if prompt is not None and prompt == self._sampled_in:
            return
        if isinstance(self.runs, RunLog):
            self.runs.give_way()
        if self.node_id is not None:
            ServerEvents().overridden(self.node_id, node_id)

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Any:
        run = outer_sample().bind(executor.original, args, kwargs).arguments
        if len(run["sigmas"]) < 2:
            return executor(*args, **kwargs)
        guider = executor.class_obj
        session = self._session(guider, run)
        reporter = self._reporter(session)
        original = guider.model_options
        try:
            guider.model_options = comfy.model_patcher.create_model_options_clone(original)
            self._wrap(guider, session, CachedPass(session, reporter))
            compiler = nullcontext() if session.needs_no_stack else compiler_off(guider.model_patcher.load_device)
            with compiler:
                result = with_room(executor, *args, **kwargs)
            session.finalize()
            return result
        except BaseException:
            session.statistics.stopped = True
            raise
        finally:
            guider.model_options = original
            session.statistics.finished = True
            reporter.end()

    def _session(self, guider: Any, run: Mapping[str, Any]) -> CacheSession:
        """The cache of a run with these arguments, by what its sampler, its schedule and its model are."""
        patcher, sampler, sigmas = guider.model_patcher, run["sampler"], run["sigmas"]
        sampling = patcher.get_model_object("model_sampling")
        off = isinstance(self.config, CacheConfig) and self.config.threshold == 0
        other = other_cache_on(patcher, guider.model_options)
        reason = Reason.OTHER_CACHE if other else unsound(sampler, sigmas, sampling)
        dimensions = run["noise"].ndim if "noise" in run else 4
        profile = NOT_PROBED if off or reason else probe_sampler(sampler, sigmas, guider, dimensions)
        if profile.kind is SamplerKind.ADAPTIVE:
            log.info("DiCache: this sampler needs every step, so no step is skipped.")
            reason = Reason.NEEDS_EVERY_CALL
        schedule = schedule_of(sigmas, sampling, profile, values_of(run))
        context = context_of(schedule, profile, patched=bool(patcher.patches))
        config, tuned_match = self._decided(context)
        config, compiler = beside_compiler(config, patcher.load_device)
        shape = shape_for(config, self.family, uncompiled(patcher.model.diffusion_model))
        session = CacheSession(config, schedule, self.reduce, shape=shape)
        statistics = session.statistics
        statistics.run_context, statistics.tuned_match = None if off else context, tuned_match
        statistics.sampler_known = profile.known or profile is NOT_PROBED
        if reason:
            session.abandon(reason)
        if other:
            statistics.other_cache = other
            log.warning("DiCache: %s is on the same model. %s", other, ONE_CACHE)
        statistics.compiler = None if session.never_reuses else compiler
        return session

    def _decided(self, context: RunContext) -> tuple[CacheConfig, TunedMatch | None]:
        if isinstance(self.config, CacheConfig):
            return self.config, None
        return self.config.for_run(context)

    def _reporter(self, session: CacheSession) -> RunReporter:
        session.statistics.architecture = self.architecture
        session.statistics.prompt = self._sampled_in = current_prompt()
        for cache in self.overridden:
            cache.give_way(self.node_id)
        if self.runs is not None:
            self.runs.append(session.statistics)
        reporter = RunReporter(session.statistics, self.node_id)
        reporter.begin()
        return reporter

    def _wrap(self, guider: Any, session: CacheSession, passes: CachedPass) -> None:
        """Put this run's wrappers into the guider's options, which are a copy of the run's own."""
        options = guider.model_options
        wrappers = [
            (WrappersMP.PREDICT_NOISE, passes.evaluate),
            (WrappersMP.CALC_COND_BATCH, passes.controls),
            (WrappersMP.APPLY_MODEL, passes),
        ]
        if not session.needs_no_stack:
            wrappers += [
                (WrappersMP.APPLY_MODEL, BlockByBlock(options)),
                (WrappersMP.PREPARE_SAMPLING, MemoryPlan(self.family, session, guider)),
            ]
        for kind, wrapper in wrappers:
            add_wrapper_with_key(kind, KEY, wrapper, options, is_model_options=True)


def values_of(run: Mapping[str, Any]) -> int:
    """Numbers in the latent of one sample of a run with these arguments; of latents that the host packs into one for a
    model that denoises several together, in the largest."""
    noise = run.get("noise")
    if noise is None:
        return FEW_VALUES
    shapes = run.get("latent_shapes") or [noise.shape]
    return max(1, *(math.prod(shape[1:]) for shape in shapes))


def context_of(schedule: Schedule, profile: SamplerProfile, patched: bool) -> RunContext:
    """What a run is like, as far as it decides which tuned setting serves it."""
    return RunContext(
        sampler_family(profile),
        schedule.total,
        patched,
        begin=round(schedule.steps_before / schedule.total, 2),
        end=round(1 - schedule.steps_after / schedule.total, 2),
        calls=max(1, round(sum(len(sequence.sigmas) for sequence in profile.sequences) / schedule.steps)),
    )


def sampler_family(profile: SamplerProfile) -> SamplerFamily:
    """What is alike to what can be skipped."""
    if profile.kind is SamplerKind.DETERMINISTIC and not any(sequence.weights for sequence in profile.sequences):
        return SamplerFamily.FROM_THE_IMAGE
    return SamplerFamily(profile.kind.value)


def unsound(sampler: Sampler, sigmas: Tensor, model_sampling: Any) -> Reason | None:
    """Why nothing can be skipped in a run, whatever the rules; ``None`` where it can. Said in the log."""
    if is_autoregressive(sampler):
        log.warning(
            "DiCache: the sampler ar_video makes a video block by block and needs every step, so no step is skipped. "
            "Causal Wan is cached under the other samplers."
        )
        return Reason.NEEDS_EVERY_CALL
    if sigmas[-1] > sigmas[0]:
        log.info("DiCache: the noise rises in this run (unsampling), so no step is skipped.")
        return Reason.RISING_NOISE
    if predicts_image(model_sampling):
        log.info("DiCache: unsupported model type, so no step is skipped.")
        return Reason.PREDICTS_IMAGE
    return None
