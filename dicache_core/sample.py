"""The cache of one sample in one stream: a gate, an indicator and a predictor, and what they agreed on last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .config import CacheConfig
from .gate import Gate
from .indicators import indicator_class
from .observation import Observation
from .predictors import predictor_class
from .schedule import SIGMA_TOLERANCE, Step
from .steering import SteeredGate
from .storage import Storage

VETO = "forecasts off"  # a step that was to be skipped strains the run more than the preset allows
Layout = tuple[torch.Size, torch.dtype, torch.device]


def layout_of(row: Tensor) -> Layout:
    """What tensors must have in common to be compared."""
    return (row.shape, row.dtype, row.device)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one sample at one step, and why.

    ``error``, ``accumulated``, ``gamma`` and ``strain`` are ``None`` where nothing was measured; ``reason`` is one of
    "threshold 0", "few steps", "warm-up", "last step", "outside start and end percent", "no anchor yet", "new noise",
    "run limit", "error", "forecasts off", "reused", "no block seen", and what ended the cache of a run: "out of
    memory", "stack left early", "blocks run several times", "pictures", "sampler".
    """

    reuse: bool
    reason: str
    error: float | None = None
    accumulated: float | None = None
    gamma: float | None = None
    strain: float | None = None  # on the run with this step skipped too, see ``Account``
    measured: tuple[float, ...] = ()  # the indicator's sums, where it ``reports``


# Of a pass whose forward never came to the blocks that decide: whatever it did instead, the cache saved nothing.
UNDECIDED = Decision(reuse=False, reason="no block seen")


class SampleCache:
    """One sample's history. It lives in one sampling run; a reset is a new object."""

    def __init__(self, config: CacheConfig, storage: Storage | None = None) -> None:
        self.config = config
        self.indicator = indicator_class(config.indicator)(config)
        self.predictor = predictor_class(config.predictor)(config)
        self.predictor.storage = storage or Storage()
        self.gate = self._gate()
        self.last: Step | None = None
        self.layouts: dict[str, Layout] = {}
        self.consecutive = 0
        self.held_bytes = 0

    def _gate(self) -> Gate:
        if self.config.target and not self.indicator.plans:
            return SteeredGate(self.config, self.indicator)
        return Gate(self.indicator.limit(self.config), self.indicator.accumulates)

    @property
    def held(self) -> list[Tensor]:
        """Tensors kept between steps."""
        return [*self.indicator.held, *self.predictor.held]

    def continues(self, step: Step) -> bool:
        """Whether ``step`` follows on from what this history last saw: no step left out and sigma not rising."""
        if self.last is None:
            return True
        if step.planned and self.last.planned:
            return step.lane == self.last.lane and 0 <= step.calls_since(self.last) <= 1
        rising = step.sigma > self.last.sigma * (1 + SIGMA_TOLERANCE)
        return not rising and 0 <= step.calls_since(self.last) <= 1

    def fits(self, kind: str, row: Tensor) -> bool:
        """Whether the history was made with rows of this shape, dtype and device.

        ``kind`` is "latent" for the model's input ``(C, ...)``, "hidden" for the stack's ``(T, D)``, "deep" for a
        U-Net's deep feature ``(C, H, W)``.  None follows from another: latents of different sizes, padded to whole
        patches, can have the same number of tokens.
        """
        return self.layouts.setdefault(kind, layout_of(row)) == layout_of(row)

    def renewed(self, kind: str, row: Tensor) -> SampleCache:
        """A history from nothing, for rows of another layout from here on."""
        other = SampleCache(self.config, self.predictor.storage)
        other.layouts = {**self.layouts, kind: layout_of(row)}
        return other

    def known(self, step: Step) -> Decision | None:
        """The decision where it needs no measurement, which is always to compute; ``None`` where it is open."""
        reason = self.config.closed(step)
        if reason is None and not self.predictor.ready:
            reason = "no anchor yet"
        if reason is None and not self.predictor.sees_noise and step.noise_is_new:
            reason = "new noise"
        if reason is None and 0 < self.config.max_consecutive <= self.consecutive:
            reason = "run limit"
        return None if reason is None else Decision(reuse=False, reason=reason)

    def measure(self, seen: Observation) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """The sums that the indicator and the predictor ask for."""
        return self.indicator.measure(seen), self.predictor.measure(seen)

    def judge(
        self, seen: Observation, for_indicator: Sequence[float], for_predictor: Sequence[float], strain: float | None
    ) -> Decision:
        """Decide an open step from the fetched sums and the strain of a skip, ``None`` where nobody knows."""
        error = self.indicator.error(seen, for_indicator)
        admitted = self.gate.admits(error, seen.step)
        measured = tuple(for_indicator) if self.indicator.reports else ()
        decision = Decision(
            admitted, "reused" if admitted else "error", error, self.gate.accumulated, measured=measured
        )
        if not admitted:
            return decision
        # The model's veto, also where the strain is no number.
        if strain is not None and not strain <= self.config.allowed_strain(seen.step.total):
            if self.predictor.account.audited:
                self.gate.vetoed(seen.step)
            return replace(decision, reuse=False, reason=VETO, strain=strain)
        return replace(decision, gamma=self.predictor.plan(seen, for_predictor), strain=strain)

    def settle(self, seen: Observation, decision: Decision) -> None:
        """Close the decision's books, before the rest of the pass runs."""
        self.indicator.follow(seen)
        self.last = seen.step
        self.consecutive = self.consecutive + 1 if decision.reuse else 0
        if not decision.reuse:
            self.gate.computed(seen.step)
        self._account()

    def record(self, seen: Observation, value: Tensor) -> None:
        """Learn from a computed step's residual or output; ``value`` belongs to this history from now on."""
        self.indicator.learn(seen, value)
        self.predictor.record(seen, value)
        self._account()

    def _account(self) -> None:
        """Work out ``held_bytes`` here, where nobody else changes what is held: hosts with several devices ask for the
        sum of all histories while other threads go on with theirs."""
        memory = [t.untyped_storage() for t in self.held]
        self.held_bytes = sum({m.data_ptr(): m.nbytes() for m in memory}.values())
