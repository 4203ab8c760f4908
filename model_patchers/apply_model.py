"""One forward pass of the model, with the cache around it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Hashable, Mapping
from typing import Any

from comfy.patcher_extension import WrapperExecutor
from torch import Tensor, nn

from ..dicache_core import CacheSession, ForwardPass, Reason
from ..dicache_core.engine.segmented_pass import SegmentedPass
from ..dicache_core.engine.storage import OUT_OF_MEMORY, CacheError, CacheOutOfMemoryError
from .acting import ControlBook
from .comfy_compiler import close_what_failed
from .compiling import uncompiled
from .family import Family
from .guided import GuidedEvaluations
from .other_caches import ONE_CACHE, NetworkWatch, bypassing
from .registry import check_stack, family_of, shape_for
from .run_reporter import RunReporter
from .seams import apply_model
from .sigma import read_sigma
from .stack import stack_around
from .streams import StreamBook, cond_rows, hook_strengths

KEY = "dicache"

log = logging.getLogger("dicache")


class CachedPass:
    """``APPLY_MODEL`` wrapper: one call of the model as its sampler sees it, every model of the host alike.

    The schedule says what policies in output space forecast: the image that the model sees, or the direction
    ``d = (x - denoised) / sigma`` that the sampler takes, which is dx/dsigma for every prediction type.
    """

    def __init__(self, session: CacheSession, reporter: RunReporter) -> None:
        self.session = session
        self._families: dict[nn.Module, Family | None] = {}  # a guider may ask a second network, of another family
        self.reporter = reporter
        estimates = session.image_error_estimator is not None and not session.never_reuses
        self.guided = GuidedEvaluations(session.image_error_estimator) if estimates else None
        self.controls = ControlBook()
        self.watch = NetworkWatch()
        self.streams = StreamBook(session.schedule.sequences, self.controls)
        self._signature = apply_model()
        self._roles: dict[Hashable, str] = {}  # by a cond's uuid, in the guider's words

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        call = self._bind(executor, args, kwargs)
        options = call.arguments["transformer_options"]
        if not options.get("uuids") or options.get("sigmas") is None:
            return executor(*args, **kwargs)  # not a pass of the sampler's: nothing tells which stream it is
        x = call.arguments["x"]
        stopwatch = self.session.stopwatch(x.device)
        unread = self.session.histories.with_unread_jumps(options["sigmas"].device)
        sigma, *found = read_sigma(options["sigmas"], [sample.input_jump for sample in unread])
        for sample, jump in zip(unread, found, strict=True):
            sample.read_input_jump(jump)
        if sigma == 0:
            return executor(*args, **kwargs)  # after the end of every schedule, and no direction to go
        network, hooks = uncompiled(executor.class_obj.diffusion_model), hook_strengths(executor.class_obj)
        now, keys = self.streams.keys(options, sigma, x.shape[0], x.device, hooks, network)
        evaluation = self.streams.evaluations - 1
        self.session.roles.update({key.stream: self._roles.get(key.stream.uuid, "") for key in keys})
        step = self.session.schedule.step_at(sigma, now.sequence, now.call_index)
        cached = not self.session.never_reuses
        cond_rows = self._cond_rows(network, options, x.shape[0])
        try:
            cache = self.session.forward(keys, step, x, cond_rows, now.max_distance)
            denoised = self._run(executor, call, cache, sigma)
        except (CacheError, OUT_OF_MEMORY) as error:
            # The model's own shortage may be the cache's fault.  Where ranks decide together, one alone cannot give up.
            if not cached or self.session.run.reduce is not None:
                raise
            self._give_up(error)
            denoised, call, cache = None, self._bind(executor, args, kwargs), None
        if denoised is None:
            # Not in the handler above: there the traceback keeps the failed pass's tensors alive.
            close_what_failed()
            cache = self.session.forward(keys, step, x, cond_rows)
            denoised = self._run(executor, call, cache, sigma)
        if self.guided is not None:
            self.guided.see(options, cache, denoised)
        self.session.close(cache, stopwatch, evaluation)
        self.reporter.step()
        return denoised

    def evaluate(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        """``PREDICT_NOISE`` wrapper: one question of the sampler's, whatever its guidance makes of it."""
        conds = executor.class_obj.conds
        self._roles = {cond["uuid"]: role for role, of_role in conds.items() for cond in of_role or ()}
        x = None if self.session.never_reuses else args[0] if args else kwargs["x"]
        with self.streams.evaluation(x):
            if self.guided is None:
                return executor(*args, **kwargs)
            return self.guided(executor, *args, **kwargs)

    def _cond_rows(self, network: nn.Module, options: Mapping[str, Any], samples: int) -> dict[int, int]:
        """Pairs are of use only where blocks can be given one row of a pair without the other."""
        family = self._family_of(network)
        splits = family is not None and bool(family.batched)
        return cond_rows(options, samples) if splits and self.session.wants_cond_outputs else {}

    def _bind(self, executor: WrapperExecutor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        return self._signature.bind(executor.original, args, kwargs)

    def _give_up(self, error: Exception) -> None:
        """Once per run, whichever thread gets here first."""
        if not self.session.abandoned:
            kind = type(error) if isinstance(error, CacheError) else CacheOutOfMemoryError
            self.session.abandon(kind.reason)
            # As text: whoever keeps the record would keep the error, its traceback, and all that the failed pass held.
            log.warning("DiCache: %s (%s). The rest of this run is computed.", kind.found, str(error))

    def _run(self, executor: WrapperExecutor, call: inspect.BoundArguments, cache: ForwardPass, sigma: float) -> Tensor:
        x = call.arguments["x"]
        if not self.session.needs_no_stack:
            denoised = self._through_stack(executor, call, cache)
        elif all(cache.decide()):
            return self._denoised(x, cache.forecast(), sigma)
        else:
            denoised = self._computed(executor, call)
        if not self.session.forecasts_output:
            return denoised
        outputs = cache.observe(self._output(x, denoised, sigma), denoised)
        if not any(cache.changed):
            return denoised  # the host's own tensor: what is not touched stays as it is, to the last bit
        return self._denoised(x, outputs, sigma)

    def _family_of(self, network: nn.Module) -> Family | None:
        """Where the blocks of ``network`` are; ``None`` where these rules cannot look at them, which is said once."""
        if network not in self._families:
            family = family_of(network)
            try:
                if not self.session.needs_no_stack:
                    check_stack(family, network, self.session.config)
                    shape = self.session.run.shape
                    if shape is not None and shape_for(self.session.config, family, network) != shape:
                        raise ValueError("its blocks are others than those of the first")
            except ValueError as error:
                log.warning("DiCache: the second model of this run is computed without a cache: %s.", error)
                family = None
            self._families[network] = family
        return self._families[network]

    def _through_stack(
        self, executor: WrapperExecutor, call: inspect.BoundArguments, cache: ForwardPass | SegmentedPass
    ) -> Tensor:
        network = uncompiled(executor.class_obj.diffusion_model)
        family = self._family_of(network)
        if family is None:
            cache.bypass(Reason.SECOND_MODEL)
            return self._computed(executor, call)
        with stack_around(family, network, cache):
            denoised = self._computed(executor, call)
        cache.check_completed()
        return denoised

    def _computed(self, executor: WrapperExecutor, call: inspect.BoundArguments) -> Tensor:
        """The host's own pass; another cache that answers in the network's place ends this one."""
        options = call.arguments["transformer_options"]
        watched = self.watch.inside(options, KEY)
        if watched is None:  # hooks bring wrappers for some calls of a run only
            return executor(*call.args, **call.kwargs)
        call.arguments["transformer_options"], inmost = watched
        denoised = executor(*call.args, **call.kwargs)
        if self.watch.bypassed(executor.class_obj, inmost) and not self.session.abandoned:
            self.session.statistics.other_cache = found = bypassing(options)
            self.session.abandon(Reason.OTHER_CACHE)
            log.warning("DiCache: %s skipped the model. %s", found, ONE_CACHE)
        return denoised

    def _output(self, x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
        return denoised.clone() if self._predicts_denoised else (x - denoised) / sigma

    def _denoised(self, x: Tensor, outputs: Tensor, sigma: float) -> Tensor:
        return outputs if self._predicts_denoised else x - sigma * outputs

    @property
    def _predicts_denoised(self) -> bool:
        return self.session.schedule.predicts_denoised and not self.session.run.predictor.wants_latent
