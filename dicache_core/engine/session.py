"""The contract between cache and model: ``enter``, ``probe``, then ``complete`` or ``rebuild`` (and in output
space: ``observe`` or ``forecast``).

The cache never sees a model and the model's side never decides anything.  One session serves one sampling run, one
``ForwardPass`` one call of the model; the unit of every decision is the sample.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..image_error import ImageErrorEstimator
from ..methods.indicators import indicator_class
from ..methods.noise_forecast import for_schedule
from ..methods.predictors import Space
from ..reasons import Reason
from ..reductions import Reducer
from ..run_statistics import PassRecord, RunStatistics, SampleKey
from ..schedule import ModelCall, Schedule
from ..segments import StackShape
from ..timing import Stopwatch
from .block_recorder import BlockRecorder
from .decision import UNDECIDED, Decision
from .forward_pass import ForwardPass
from .histories import Histories
from .run_environment import RunEnvironment, needs_stack
from .segmented_pass import SegmentedPass
from .storage import Storage


class CacheSession:
    """The cache of one sampling run.

    Attributes:
        run: what stays the same during the run.
        histories: what is kept between its calls.
        statistics: its record.
        roles: of streams, filled by the host's side: "positive", "negative".

    Raises:
        CacheOutOfMemoryError: by every call, where the cache's own allocations fail.
        StackLeftEarlyError: by ``ForwardPass.check_completed``; after either, ``abandon`` lets the run go on without a
            cache.
    """

    def __init__(
        self,
        config: CacheConfig,
        schedule: Schedule,
        reduce: Reducer | None = None,
        storage: Storage | None = None,
        shape: StackShape | None = None,
    ) -> None:
        storage = storage or Storage(in_main_memory=config.cache_device == "cpu", bits=config.residual_bits)
        records = shape is not None and indicator_class(config.indicator).records_blocks
        recorder = BlockRecorder() if records else None
        self.run = RunEnvironment(for_schedule(config, schedule), schedule, reduce, storage, shape, recorder)
        self.histories = Histories(self.run)
        self.statistics = RunStatistics(schedule, config)
        self.roles: dict[Hashable, str] = {}
        self._stream_numbers: dict[Hashable, int] = {}
        self._stopped: dict[torch.device, Stopwatch] = {}  # of the newest pass on each device
        self._lock = threading.Lock()  # hosts that split conds over devices call from several threads

    @property
    def config(self) -> CacheConfig:
        return self.run.config

    @property
    def schedule(self) -> Schedule:
        return self.run.schedule

    @property
    def image_error_estimator(self) -> ImageErrorEstimator | None:
        return self.histories.image_error_estimator

    @property
    def abandoned(self) -> Decision | None:
        """What is decided since the run goes on without a cache; ``None`` before."""
        return self.histories.abandoned

    @property
    def never_reuses(self) -> bool:
        return self.histories.never_reuses

    @property
    def needs_no_stack(self) -> bool:
        """Whether nothing has to be seen of the blocks: the model's input and output say it all, or none is reused."""
        return self.never_reuses or not needs_stack(self.config)

    @property
    def forecasts_output(self) -> bool:
        """Whether skipped calls are forecast as the model's output, not as the residual of its stack."""
        return self.run.space is Space.OUTPUT

    @property
    def wants_cond_outputs(self) -> bool:
        """Whether unconditional rows are forecast from the conditional ones of their pass."""
        return self.run.predictor.wants_cond_output

    def forward(
        self,
        keys: Sequence[SampleKey],
        step: ModelCall,
        latents: Tensor | None = None,
        cond_rows: Mapping[int, int] | None = None,
        max_distance: Tensor | None = None,
    ) -> ForwardPass | SegmentedPass:
        """Begin a forward pass of ``len(keys)`` samples; a key names the stream and the sample's row in it.

        ``latents`` ``(N, C, ...)`` is the model's input, needed by indicators that look at it and where streams decide
        together.  ``cond_rows`` says of unconditional rows which row of this pass is the conditional one.
        ``max_distance``, 0-d, is how far each row may be from the call before's, see ``InputDistanceBound``; ``None``
        where it is not known.
        """
        asked = (step, latents, cond_rows or {}, max_distance)
        segments = () if self.never_reuses else self.run.segments
        if not segments:
            return ForwardPass(self.run, self.histories, list(keys), *asked)
        passes: list[ForwardPass] = []
        for number, segment in enumerate(segments):
            own, before = [key._replace(segment=number) for key in keys], passes[-1] if passes else None
            passes.append(ForwardPass(self.run, self.histories, own, *asked, segment, before))
        return SegmentedPass(list(keys), passes)

    def finalize(self) -> None:
        """Estimate at the run's end how far its images may be off, and read what was recorded; one sync each."""
        if self.run.block_recorder is not None:
            self.statistics.block_changes = self.run.block_recorder.table(self.schedule.steps, self.run.reduce)
        self.histories.finalize()
        if self.image_error_estimator is not None:
            self.statistics.image_errors = self.image_error_estimator.finalize(self.run.reduce)

    def stopwatch(self, device: torch.device) -> Stopwatch:
        """Times the next pass from where the last one on ``device`` ended.

        What the host does between two passes (a ControlNet, the sampler's own work, a preview) is time that skipping
        does not save: without it a speed-up would be told that nobody gets.
        """
        return Stopwatch(device, after=self._stopped.get(device))

    def close(self, passed: ForwardPass | SegmentedPass, stopwatch: Stopwatch, evaluation: int | None = None) -> None:
        """Enter a finished forward pass in the run's statistics; see there for ``evaluation``."""
        stopwatch.stop()
        with self._lock:
            self._stopped[stopwatch.device] = stopwatch
            keys = tuple(self._numbered(key) for key in passed.keys)
            decisions = tuple(passed.decisions) or (UNDECIDED,) * len(keys)
            self.statistics.record(PassRecord(passed.step, keys, decisions, stopwatch, evaluation))
            self.statistics.held_bytes = max(self.statistics.held_bytes, self.histories.held_bytes())

    def abandon(self, reason: Reason) -> None:
        """Drop every history and compute from now on, see ``Histories.abandon``."""
        self.histories.abandon(reason)

    def _numbered(self, key: SampleKey) -> SampleKey:
        """The key with a number for its stream: statistics outlive the run, what a stream names must not."""
        number = self._stream_numbers.setdefault(key.stream, len(self._stream_numbers))
        self.statistics.roles[number] = self.roles.get(key.stream, "")
        return key._replace(stream=number)
