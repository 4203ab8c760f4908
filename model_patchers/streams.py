"""Which stream a forward pass belongs to.

The same cond uuid is not the same pass: guidance nodes call the model again in the same step with other block patches
or another input, context windows run several windows per step, and multi-device hosts run clones in threads.  A stream
is the cond's uuid, the network (guiders may ask a second one), the foreign patches, controls and hooks in force with
their strengths, the context window, the device, the sequence of the sampler's evaluation that the call belongs to, and
how often that evaluation has called the same before.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from comfy.model_base import BaseModel
from torch import Tensor, nn

from ..dicache_core import CallSequence, SampleKey, same_sigma
from ..dicache_core.engine.input_jump import InputDistanceBound
from ..dicache_core.schedule import CallTracker
from .acting import ControlBook, foreign_patches

COND, UNCOND = 0, 1  # as the host numbers them in ``cond_or_uncond``

ELSEWHERE = 1 << 16  # the first sequence of calls at noise levels that are not the sampler's

Hooks = tuple[tuple[Hashable, float], ...]


class Stream(NamedTuple):
    """Everything that tells one pass of a step from another.

    ``repeat`` counts the calls of one evaluation that agree in all else: 1 is the second look of Self-Attention
    Guidance at an input of its own, or the second tile of an image.
    """

    uuid: Hashable
    network: nn.Module | None
    patches: frozenset[Hashable]
    controls: tuple[Hashable, ...]
    hooks: Hooks
    window: tuple[int, ...] | None
    device: torch.device
    sequence: int = 0
    repeat: int = 0

    @property
    def part(self) -> Hashable:
        """What streams have in common that guidance puts together, wherever they run: a window, a tile, a sequence."""
        return (self.window, self.sequence, self.repeat)


class Evaluation(NamedTuple):
    """One question of the sampler's to the guided model.

    ``call_index`` is its place in the sequence, if it was expected; ``max_distance`` is how far streams may have gone,
    see ``InputDistanceBound``.
    """

    sigma: float
    sequence: int
    call_index: int | None
    max_distance: Tensor | None = None


class StreamBook:
    """Names the streams of one run; ``expected`` are the sampler's own evaluations of the guided model.

    The sampler's evaluation, which may take many passes of the model, says where in the sequences all of them stand.
    """

    def __init__(self, expected: tuple[CallSequence, ...], controls: ControlBook) -> None:
        self._controls = controls
        self._evaluations = CallTracker(expected)
        self._bounds: defaultdict[int, InputDistanceBound] = defaultdict(InputDistanceBound)  # per sequence
        self._x: Tensor | None = None  # of the present evaluation
        self._elsewhere: dict[Stream, CallTracker] = {}  # calls at a noise level that is not the evaluation's
        self.evaluations = 0  # so far
        self._now: Evaluation | None = None
        self._called: Counter[Stream] = Counter()  # in the present evaluation, at its noise level
        self._inside = False
        self._lock = threading.Lock()

    @contextmanager
    def evaluation(self, x: Tensor | None = None) -> Iterator[None]:
        """Everything that is called in here belongs to one question of the sampler's, about ``x`` ``(B, C, ...)``."""
        self._now, self._inside, self._x = None, True, x
        try:
            yield
        finally:
            self._now, self._inside, self._x = None, False, None

    def keys(
        self,
        options: Mapping[str, Any],
        sigma: float,
        samples: int,
        device: torch.device,
        hooks: Hooks = (),
        network: nn.Module | None = None,
    ) -> tuple[Evaluation, list[SampleKey]]:
        """The evaluation that the call belongs to, and one key per row of a batch of ``samples``, in which the conds of
        ``options["uuids"]`` follow one another."""
        uuids = options["uuids"]
        rows = samples // len(uuids)
        patches, window = foreign_patches(options, sigma), _window(options)
        acting = [self._controls.acting(uuid, sigma) for uuid in uuids]
        streams = [Stream(u, network, patches, c, hooks, window, device) for u, c in zip(uuids, acting, strict=True)]
        with self._lock:
            now = self._evaluation_of(streams, sigma)
            inside = [self._entered(stream, now, sigma) for stream in streams]
        there = now if same_sigma(sigma, now.sigma) else Evaluation(sigma, ELSEWHERE, None)
        return there, [SampleKey(stream, row, stream.part) for stream in inside for row in range(rows)]

    def _evaluation_of(self, streams: Sequence[Stream], sigma: float) -> Evaluation:
        """The present evaluation, or a new one.

        Who calls the model past the guider leaves out ``evaluation``; there a new one begins at another noise level, or
        with what was called before.
        """
        now = self._now
        if now is None or not (
            self._inside or (same_sigma(sigma, now.sigma) and self._called.keys().isdisjoint(streams))
        ):
            sequence, call_index = self._evaluations.enter(sigma)
            max_distance = None if self._x is None else self._bounds[sequence].next(self._x)
            now = self._now = Evaluation(sigma, sequence, call_index, max_distance)
            self.evaluations += 1
            self._called.clear()
        return now

    def _entered(self, stream: Stream, now: Evaluation, sigma: float) -> Stream:
        if not same_sigma(sigma, now.sigma):
            sequence, _ = self._elsewhere.setdefault(stream, CallTracker()).enter(sigma)
            return stream._replace(sequence=ELSEWHERE + sequence)
        self._called[stream] += 1
        return stream._replace(sequence=now.sequence, repeat=self._called[stream] - 1)


def cond_rows(options: Mapping[str, Any], samples: int) -> dict[int, int]:
    """Of each unconditional row in a batch of ``samples`` the conditional one of the same image.

    Empty where the batch is not one cond and its uncond: of several nobody knows which of them belongs to which.
    """
    kinds = options["cond_or_uncond"]
    if sorted(kinds) != [COND, UNCOND]:
        return {}
    rows, cond, uncond = samples // 2, kinds.index(COND), kinds.index(UNCOND)
    return {uncond * rows + row: cond * rows + row for row in range(rows)}


def hook_strengths(model: BaseModel) -> Hooks:
    """The hooks that the host has applied to ``model`` for the present pass (LoRAs on conds, say), and their strengths.

    Keyframes change a strength in the middle of a run, and with it the weights: what was kept before tells nothing of
    what comes after.
    """
    group = model.current_patcher.current_hooks
    return () if group is None else tuple((hook.hook_ref, hook.strength) for hook in group.hooks)


def _window(options: Mapping[str, Any]) -> tuple[int, ...] | None:
    window = options.get("context_window")
    return None if window is None else tuple(window.index_list)
