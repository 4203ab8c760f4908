"""What stays the same during a run: settings, schedule, and what the rules ask a model for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ..config import CacheConfig
from ..effective_settings import stage_of
from ..methods.indicators import Indicator, Stage, indicator_class
from ..methods.predictors import Predictor, Space, predictor_class
from ..reductions import Reducer, probe_token_count, probe_token_index
from ..schedule import Schedule
from ..segments import Segment, StackShape
from .block_recorder import BlockRecorder
from .storage import Storage


def needs_stack(config: CacheConfig) -> bool:
    """Whether these rules look at a model's blocks: others work with any model."""
    of_input = stage_of(config.indicator, config.predictor) is Stage.INPUT
    return config.threshold > 0 and not (of_input and predictor_class(config.predictor).space is Space.OUTPUT)


@dataclass(frozen=True)
class RunEnvironment:
    """What a forward pass and the histories are given of their run.

    Attributes:
        config: the run's settings.
        schedule: its noise levels and the sampler's calls.
        reduce: adds up sums over ranks that hold a slice of the tokens each; ``None`` for a single process.
        storage: where full-size tensors rest between calls.
        shape: of the model's stack, for rules that decide on parts of it.
        block_recorder: sees every block in a calibrating run; ``None`` in any other.
    """

    config: CacheConfig
    schedule: Schedule
    reduce: Reducer | None
    storage: Storage
    shape: StackShape | None = None
    block_recorder: BlockRecorder | None = None
    _token_index: dict[tuple[int, torch.device], Tensor | None] = field(default_factory=dict)

    @cached_property
    def indicator(self) -> type[Indicator]:
        """Says *when*."""
        return indicator_class(self.config.indicator)

    @cached_property
    def predictor(self) -> type[Predictor]:
        """Says *how*."""
        return predictor_class(self.config.predictor)

    @cached_property
    def segments(self) -> Sequence[Segment]:
        """The parts of the stack that are decided one by one; none where the whole is."""
        return () if self.shape is None else self.indicator.segments(self.config, self.shape)

    @cached_property
    def stage(self) -> Stage:
        """How far a pass has to run before it can decide."""
        return stage_of(self.config.indicator, self.config.predictor)

    @cached_property
    def space(self) -> Space:
        """What is forecast: a residual of the stack, or the model's output."""
        return self.predictor.space

    @cached_property
    def probe_depth(self) -> int:
        """Blocks that have to run before a decision: none for indicators that look at the input only."""
        return self.config.probe_depth if self.stage is Stage.PROBE else 0

    def token_index(self, tokens: int, device: torch.device) -> Tensor | None:
        """``(K,)`` positions of the probe tokens among ``tokens``; ``None`` for all."""
        layout = (tokens, device)
        if layout not in self._token_index:
            count = probe_token_count(tokens, self.config.probe_tokens)
            self._token_index[layout] = probe_token_index(tokens, count, device)
        return self._token_index[layout]
