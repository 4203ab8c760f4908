"""Putting a cache around a ModelPatcher's sampling, through the host's own wrappers, and nothing else.

The patched model carries one ``OUTER_SAMPLE`` wrapper with the settings.  Each sampling run makes its own session and
adds an ``APPLY_MODEL`` wrapper to the run's options; both end with the run, whichever way it ends.
"""

from __future__ import annotations

import inspect
import logging
from typing import Any

import comfy.model_patcher
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP, add_wrapper_with_key
from comfy.samplers import Sampler
from torch import nn

from ..dicache_core import (
    CacheConfig,
    CacheSession,
    Recall,
    Reducer,
    RunLog,
    RunStatistics,
    SampleCache,
    Situation,
    TunedSettings,
    indicator_class,
    needs_stack,
)
from .autoregressive import is_autoregressive
from .compiling import BlockByBlock
from .family import Family, class_name
from .memory import MemoryPlan
from .passes import KEY, CachedPass, bound
from .place import puts_out_pictures, schedule_of
from .registry import architecture_of, family_of
from .reporter import Reporter, current_prompt
from .sampler import Conduct, SamplerAnswer, ask

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
    docs/several_devices.md.  ``TunedSettings`` are decided on when a run begins.  Raises ``ValueError`` for a model of
    no known family, a probe deeper than its stack, and rules that lack something (a curve, say) or do not go together.
    """
    family = family_of(model.model.diffusion_model)
    for possible in [config] if isinstance(config, CacheConfig) else [config.fallback, *config.configs.values()]:
        if needs_stack(possible):
            check_stack(family, model.model.diffusion_model, possible)
        SampleCache(possible)  # rules complain here about what they lack, not in the middle of a run
    patched = detach(model)
    if patched.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY) != model.get_wrappers(WrappersMP.OUTER_SAMPLE, KEY):
        log.info("DiCache: the model already had a DiCache node; the later one's settings are used.")
    sampling = CachedSampling(family, architecture_of(model), config, node_id, runs, reduce)
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, sampling)
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
        family: Family | None,
        architecture: str,
        config: CacheConfig | TunedSettings,
        node_id: str | None,
        runs: RunLog | list[RunStatistics] | None,
        reduce: Reducer | None = None,
    ) -> None:
        self.family = family
        self.architecture = architecture
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
        answer = ask(run["sampler"], sigmas, sampling)
        schedule = schedule_of(sigmas, sampling, answer.lanes, answer.forecasts_denoised)
        situation = Situation(
            sampler_family(answer, schedule.steps), schedule.total, patched=bool(guider.model_patcher.patches)
        )
        config, recall = self._decided(situation)
        session = CacheSession(config, schedule, self.reduce)
        session.statistics.situation, session.statistics.recall = situation, recall
        if reason := unsound(run["sampler"], sampling, answer):
            session.abandon(reason)
        reporter = self._reporter(session)
        original = guider.model_options
        try:
            guider.model_options = comfy.model_patcher.create_model_options_clone(original)
            self._wrap(guider, session, CachedPass(self.family, session, reporter))
            result = executor(*args, **kwargs)
            session.settle()
            return result
        finally:
            guider.model_options = original
            session.statistics.finished = True
            reporter.end()

    def _decided(self, situation: Situation) -> tuple[CacheConfig, Recall | None]:
        if isinstance(self.config, CacheConfig):
            return self.config, None
        return self.config.for_run(situation)

    def _reporter(self, session: CacheSession) -> Reporter:
        session.statistics.architecture = self.architecture
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
                (WrappersMP.PREPARE_SAMPLING, MemoryPlan(self.family, session, guider)),
            ]
        for kind, wrapper in wrappers:
            add_wrapper_with_key(kind, KEY, wrapper, options, is_model_options=True)


def sampler_family(answer: SamplerAnswer, steps: int) -> str:
    """What kind of sampler it is, in words: those of a kind are alike to what can be skipped, whatever their names."""
    if answer.conduct is Conduct.PLAIN and not any(lane.weights for lane in answer.lanes):
        kind = "starts each step from the picture"
    else:
        kind = {
            Conduct.PLAIN: "adds no noise",
            Conduct.NOISY: "adds noise",
            Conduct.UNKNOWN: "of another pack",
            Conduct.ERRATIC: "chooses its steps",
        }[answer.conduct]
    calls = round(sum(len(lane.sigmas) for lane in answer.lanes) / steps)
    return f"{kind}, {calls} calls a step" if calls > 1 else kind


def unsound(sampler: Sampler, model_sampling: Any, answer: SamplerAnswer) -> str | None:
    """Why nothing can be skipped in a run, whatever the rules; ``None`` where it can. Said in the log."""
    if is_autoregressive(sampler):
        log.warning(
            "DiCache: the sampler ar_video makes a video block by block and needs every call of the model: all is "
            "computed. Causal Wan is cached under the other samplers."
        )
        return "sampler"
    if answer.conduct is Conduct.ERRATIC:
        log.info("DiCache: this sampler chooses its steps by what it sees, so none is skipped: all is computed.")
        return "sampler"
    if puts_out_pictures(model_sampling):
        log.info("DiCache: this model puts out the picture itself, so nothing can be forecast: all is computed.")
        return "pictures"
    return None


def check_stack(family: Family | None, network: nn.Module, config: CacheConfig) -> None:
    """Raise a ``ValueError`` where a rule looks at blocks that are not known, or at more of them than there are."""
    if family is None:
        raise ValueError(
            f"DiCache has not seen the model class {class_name(network)} before and does not know its blocks, which "
            "this method looks at: choose the preset fidelity, balanced or fast, which work with any model"
        )
    blocks = family.depth(network)
    if config.probe_depth >= blocks:
        raise ValueError(
            f"probe_depth is {config.probe_depth}, but this {family.name} model has {blocks} blocks: "
            f"write 1 to {blocks - 1}, or -1 (automatic)"
        )
    if indicator_class(config.indicator).wants_modulated and family.modulated is None:
        raise ValueError(
            f"TeaCache looks at the modulated input of the first block, which DiCache does not know of {family.name}: "
            "choose another policy, such as dicache or fbcache"
        )
