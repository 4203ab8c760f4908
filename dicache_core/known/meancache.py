"""MeanCache (Gao et al., arXiv 2601.19961): the average velocity over an interval in place of one at an instant."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..predictor import Predictor, Space
from ..schedule import Step
from .calibrated import Cost, Errors, Planned, cheapest

PEAK = 2.0  # the power that keeps one bad interval from being paid for by many good ones
LONGEST = 8  # steps from one computed step to the next, as in the authors' plans
BACK = 2  # calls over which the average is taken, the one most used in the authors' plans


class ShortestPath(Planned):
    """The plan of ``n`` computed steps with the smallest sum of ``C^PEAK`` ("peak-suppressed shortest path").

    ``C`` of an interval is the sum of its skipped steps' errors, ``mean|u_t - u_b| / mean|u_t|`` of the recorded
    average velocities, ``b`` being the step computed before.  The authors publish plans, not the costs behind them.
    """

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.errors = Errors(config.velocity_errors, "MeanCache")

    def error_at(self, step: Step, gap: int) -> float:
        return min(self.errors.at(step, gap), 1.0)  # not recorded: as bad as can be

    def plan(self, steps: int, count: int, cost: Cost) -> Sequence[int]:
        return cheapest(steps, count, lambda a, b: cost(a, b) ** PEAK, 1, LONGEST)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the model, computed or forecast: where it was, its input ``(C, ...)`` and its output ``(C, ...)``."""

    sigma: float
    latent: Tensor
    value: Tensor


class MeanVelocity(Predictor):
    """``v = v_b - J (s' - s)`` with ``J = (v_a - (x - x_a) / (s - s_a)) / (s - s_a)``.

    ``s`` and ``x`` are this call's sigma and input, ``s'`` is the next sigma, ``b`` the call before, ``a`` the one
    ``BACK`` calls before.  From MeanFlow's identity: the average velocity differs from that at its start by the
    interval's length times how it changes along the path, ``J``, which the path behind tells.
    """

    space = Space.OUTPUT
    wants_latent = True

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.calls: deque[Call] = deque(maxlen=BACK)  # the newest last
        self.now: Observation | None = None

    @property
    def ready(self) -> bool:
        return len(self.calls) > 0

    def plan(self, seen: Observation, sums: Sequence[float]) -> float:
        self.now = seen
        return 1.0

    def record(self, seen: Observation, value: Tensor) -> None:
        self.calls.append(Call(seen.step.sigma, seen.latent[: len(value)].clone(), value))

    def forecast(self, out: Tensor) -> None:
        start, newest = self.calls[0], self.calls[-1].value
        latent, passed = self.now.latent[: len(out)], self.now.step.sigma - start.sigma
        if passed < 0:
            average = (latent.float() - start.latent) / passed
            change = (start.value.float() - average) / passed
            newest = newest - change * (self.now.step.next_sigma - self.now.step.sigma)
        out.copy_(newest)
        self.calls.append(Call(self.now.step.sigma, latent.clone(), out.clone()))

    @property
    def held(self) -> Sequence[Tensor]:
        return [tensor for call in self.calls for tensor in (call.latent, call.value)]
