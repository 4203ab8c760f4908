"""FasterCache (Lv et al., arXiv 2410.19355): the unconditional output from the conditional one of the same step.

Settings of the authors' code as diffusers documents them (``FasterCacheConfig``): what repeats is computed every 2nd
step, the unconditional pass every 5th.  They begin at a third of the run, here it is the usual warm-up; they repeat the
output of each attention, here it is the model's output, once per step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source
from ..schedule import ModelCall
from .base import PlannedIndicator, Predictor, Space, Stage
from .indicators import indicator
from .predictors import predictor

PACE = 2.5  # computed conditional calls for each unconditional one
RADIUS = 5  # frequencies up to 1/5 of the shorter side are low
ALPHA = 1.1  # what the differences are weighed with
LOW_UNTIL, LOW_FROM, HIGH_FROM = 0.1, 0.9, 0.3  # shares of noise between and below which they are weighed more


@indicator("fastercache")
class FasterCache(PlannedIndicator):
    """Computes conditional calls evenly, and every ``PACE``-th of these with the unconditional one.

    Every ``interval``-th call is computed; with a target, as many as meet it on the average of both.  A cond that
    shares its pass with no other is computed as the conditional one, or as the target says.
    """

    stage = Stage.ENTER  # where a pass can still go on with some of its rows
    limited_by = "interval"
    decides_alone = True  # the unconditional one follows the conditional one
    accumulates = False
    meets_target = True

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.computed: dict[tuple[bool, bool], frozenset[int]] = {}  # (is_uncond, is_cond) -> calls of this sequence

    @classmethod
    def limit(cls, config: CacheConfig) -> float:
        return 1.0

    def planned_error(self, obs: Observation) -> float:
        part = (obs.is_uncond, obs.is_cond)
        if part not in self.computed:
            self.computed[part] = frozenset(self._plan(obs.step, *part))
        return math.inf if obs.step.call_index in self.computed[part] else 0.0

    def _plan(self, step: ModelCall, is_uncond: bool, is_cond: bool) -> Sequence[int]:
        """Open calls that are computed; those of the unconditional stream are among those of the conditional one."""
        calls = [step.at(i) for i in range(len(step.sequence.sigmas))]
        free = [i for i, call in enumerate(calls) if self.config.block_reason(call) is None]
        leading = following = alone = len(free) / self.config.interval
        if self.config.speed_target:
            share = self.config.speed_target.share(step.schedule.steps, step.total)
            alone = max(0.0, share * len(calls) - (len(calls) - len(free)))
            leading = min(len(free), 2 * alone * PACE / (PACE + 1))
            following = 2 * alone - leading
        else:
            following /= PACE
        if not (is_uncond or is_cond):
            return spread(free, alone)
        conditional = spread(free, leading)
        return spread(conditional, following) if is_uncond else conditional


def spread(calls: Sequence[int], count: float) -> list[int]:
    """About ``count`` of ``calls``, evenly."""
    whole = min(round(count), len(calls))
    return [calls[(2 * i + 1) * len(calls) // (2 * whole)] for i in range(whole)]


def low_frequencies(x: Tensor) -> Tensor:
    """What changes slowly over each frame of ``x`` ``(C, [T,] H, W)``, float32."""
    height, width = x.shape[-2:]
    rows, columns = (torch.fft.fftfreq(n, 1 / n, device=x.device) for n in (height, width))
    low = rows[:, None] ** 2 + columns**2 <= (min(height, width) // RADIUS) ** 2
    return torch.fft.ifft2(torch.fft.fft2(x.float()) * low).real


@predictor("from_conditional")
class FromConditional(Predictor):
    """``v = v_c + w_l low(D) + w_h high(D)``, ``D = v_b - v_cb`` being unconditional less conditional output at ``b``.

    ``c`` is the same step's conditional output and ``b`` the last step at which both were computed.  ``w_l`` is
    ``ALPHA`` in the middle of the run, ``w_h`` late in it, else 1 (equation 11).  Conditional outputs, and all that
    have no partner in their pass, go on as ``v_b + p (v_b - v_a)`` with the run's progress ``p``.
    """

    space = Space.OUTPUT
    wants_cond_output = True
    noise_aware = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.outputs: deque[Tensor] = deque(maxlen=2)  # (C, ...), the newest last
        self.difference: tuple[Tensor, Tensor] | None = None  # low and high, float32
        self.obs: Observation | None = None  # of the step being forecast

    @property
    def ready(self) -> bool:
        return len(self.outputs) > 0

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.obs = obs
        return 1.0

    def record(self, obs: Observation, value: Tensor) -> None:
        if obs.cond_output is not None:
            difference = value.float() - obs.cond_output.float()
            low = low_frequencies(difference)
            self.difference = (low, difference - low)
        self.outputs.append(value)

    def forecast(self, out: Tensor) -> None:
        step, cond_output = self.obs.step, self.obs.cond_output
        self.obs = None  # it holds another sample's output
        if cond_output is None or self.difference is None:
            newest, before = self.outputs[-1], self.outputs[0]
            out.copy_(newest + step.progress * (newest - before))
            return
        noise = step.schedule.noise_share(step.sigma)
        low, high = self.difference
        out.copy_(cond_output + weight(LOW_UNTIL < noise < LOW_FROM) * low + weight(noise < HIGH_FROM) * high)

    @property
    def held(self) -> Sequence[Tensor]:
        return [*(self.difference or ()), *self.outputs]


def weight(more: bool) -> float:
    """Of a band of frequencies."""
    return ALPHA if more else 1.0


POLICIES = (
    NamedPolicy(
        "fastercache",
        "FasterCache",
        Group.INTERVAL,
        when="every n-th step is computed; the negative prompt only every few of them",
        how="the negative from the positive of the same step, low and high frequencies apart",
        policy=Policy(FasterCache.name, FromConditional.name, interval=2),
        source=Source("FasterCache", "2410.19355"),
    ),
)
