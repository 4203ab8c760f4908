"""MeanCache (Gao et al., arXiv 2601.19961): the average velocity over an interval in place of one at an instant."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source
from ..schedule import ModelCall
from .base import Predictor, Space
from .calibrated import Cost, Errors, Planned, cheapest
from .indicators import indicator
from .predictors import predictor

PEAK = 2.0  # the power that keeps one bad interval from being paid for by many good ones
LONGEST = 8  # steps from one computed step to the next, as in the authors' plans
BACK = 2  # calls over which the average is taken, the one most used in the authors' plans


@indicator("shortest_path")
class ShortestPath(Planned):
    """The plan of ``n`` computed steps with the smallest sum of ``C^PEAK`` ("peak-suppressed shortest path").

    ``C`` of an interval is the sum of its skipped steps' errors, ``mean|u_t - u_b| / mean|u_t|`` of the recorded
    average velocities, ``b`` being the step computed before.  The authors publish plans, not the costs behind them.
    """

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config, Errors(config.velocity_errors, "MeanCache"))

    def plan(self, steps: int, count: int, cost: Cost) -> Sequence[int]:
        return cheapest(steps, count, lambda a, b: cost(a, b) ** PEAK, 1, LONGEST)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the model, computed or forecast: where it was, and its output ``(C, ...)``."""

    sigma: float
    value: Tensor


@predictor("mean_velocity")
class MeanVelocity(Predictor):
    """``v = v_b - J (s' - s)`` with ``J = (v_a - u) / (s - s_a)``, ``u = sum v_i (s_(i+1) - s_i) / (s - s_a)``.

    ``s`` is this call's sigma, ``s'`` the next one, ``b`` the call before, ``a`` the one ``BACK`` calls before, ``u``
    the average velocity since: what the latent moved by, as an Euler step moves it, over the sigma that passed.  From
    MeanFlow's identity: an interval's average velocity differs from that at its start by its length times how it
    changes along the path, ``J``, which the path behind tells.
    """

    space = Space.OUTPUT
    noise_aware = False

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.calls: deque[Call] = deque(maxlen=BACK)  # the newest last
        self.step: ModelCall | None = None  # the one being forecast

    @property
    def ready(self) -> bool:
        return len(self.calls) > 0

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.step = obs.step
        return 1.0

    def record(self, obs: Observation, value: Tensor) -> None:
        self._append(obs.step.sigma, value)

    def forecast(self, out: Tensor) -> None:
        sigma, start, newest = self.step.sigma, self.calls[0], self.calls[-1].value
        passed = sigma - start.sigma
        if passed < 0:
            ends = [*(call.sigma for call in list(self.calls)[1:]), sigma]
            shares = [(end - call.sigma) / passed for call, end in zip(self.calls, ends, strict=True)]
            average = sum(share * call.value.float() for share, call in zip(shares, self.calls, strict=True))
            newest = newest - (start.value.float() - average) * ((self.step.next_sigma - sigma) / passed)
        out.copy_(newest)
        self._append(sigma, out.clone())

    @property
    def held(self) -> Sequence[Tensor]:
        return [call.value for call in self.calls]

    def _append(self, sigma: float, value: Tensor) -> None:
        if self.calls and self.calls[-1].sigma <= sigma:
            self.calls.pop()  # the same moment again
        self.calls.append(Call(sigma, value))


POLICIES = (
    NamedPolicy(
        "meancache",
        "MeanCache",
        Group.CALIBRATED,
        when="a plan made from the recorded velocities says so",
        how="the average velocity over the steps before",
        policy=Policy(ShortestPath.name, MeanVelocity.name, warmup_steps=3),
        source=Source("MeanCache", "2601.19961"),
    ),
)
