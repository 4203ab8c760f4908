"""HyCa (Zheng et al., "Let Features Decide Their Own Solvers", arXiv 2510.04188): a solver per cluster of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..config import CacheConfig
from ..observation import Observation
from ..policy import Group, NamedPolicy, Policy, Source
from ..reductions import l1_distance
from .extrapolation import Extrapolation, adams_bashforth2, bdf2, hold, linear, taylor2
from .planned import FixedInterval
from .predictors import predictor

SOLVERS = (hold, linear, adams_bashforth2, bdf2, taylor2)  # and trajectory alignment, which needs the probe
TRAJECTORY = len(SOLVERS)
CLUSTERS = 8
ROUNDS = 10
LEARNT_FROM = 3  # computed steps that the first forecast to be checked needs


@predictor("hyca")
class HyCa(Extrapolation):
    """Channels are clustered by how they move; each cluster takes the solver that would have done best.

    Once, at the fourth computed step: every channel is described by ``log`` of mean ``|b|`` (energy), ``|b - a|``
    (difference) and ``|b - 2a + c|`` (curvature) over the tokens, k-means makes ``CLUSTERS`` clusters of them, and each
    gets the solver with the smallest mean squared error on the step that was just computed.  Before that: alignment.
    """

    residuals = 3
    probes = 3

    def __init__(self, config: CacheConfig) -> None:
        super().__init__(config)
        self.choice: Tensor | None = None  # (D,) index of the solver
        self.table: Tensor | None = None  # (solvers, anchors) weights of this step

    def plan(self, obs: Observation, sums: Sequence[float]) -> float:
        self.table = self._table(obs)
        return 1.0

    def record(self, obs: Observation, value: Tensor) -> None:
        if self.choice is None and len(self.anchors) == LEARNT_FROM:
            self.choice = self._choose(obs, value)
        super().record(obs, value)

    def forecast(self, out: Tensor) -> None:
        choice = self.choice if self.choice is not None else torch.full(out.shape[-1:], TRAJECTORY, device=out.device)
        self._sum(choice, self.table, out)

    def _sum(self, choice: Tensor | int, table: Tensor, out: Tensor) -> None:
        """``out = sum_j weight_j R_j``, the weights ``(D,)`` of each anchor being those of the chosen solvers."""
        weights = table[choice].to(out.dtype)  # (D, anchors), or (anchors,) for a single solver
        out.zero_()
        for j, anchor in enumerate(reversed(self.anchors)):
            out.addcmul_(self.storage.load(anchor.residual), weights[..., j])

    def _table(self, obs: Observation) -> Tensor:
        """Weights of every solver, ``(solvers, anchors)``, the newest anchor first."""
        times = [anchor.time for anchor in reversed(self.anchors)]
        rows = torch.tensor([solver(obs.step.time, times) for solver in SOLVERS], device=obs.hm.device)
        return torch.cat([rows, self._alignment(obs, rows)])

    def _alignment(self, obs: Observation, like: Tensor) -> Tensor:
        """``(1, anchors)`` weights ``(gamma, 1 - gamma, 0)`` of trajectory alignment, without a device sync."""
        row = torch.zeros_like(like[:1])
        row[0, 0] = 1.0
        if len(self.anchors) < 2:
            return row
        *_, older, newer = (anchor.probe_residual for anchor in self.anchors)
        gamma = l1_distance(obs.probe_residual, older) / l1_distance(newer, older)
        gamma = gamma.nan_to_num(1.0, 1.0, 1.0).clamp(1.0, self.config.gamma_max)
        row[0, 0], row[0, 1] = gamma, 1 - gamma
        return row

    def _choose(self, obs: Observation, value: Tensor) -> Tensor:
        """The solver of every channel, ``(D,)``, from its forecasts of ``value`` ``(T, D)``."""
        table = self._table(obs)
        errors = []
        for solver in range(len(table)):
            forecast = torch.empty_like(value)
            self._sum(solver, table, forecast)
            errors.append((forecast.float() - value.float()).square().mean(0))  # (D,)
        cluster = cluster_channels(
            describe(value, *[self.storage.load(a.residual) for a in reversed(self.anchors)][:2])
        )
        member = torch.nn.functional.one_hot(cluster, CLUSTERS).float()  # (D, clusters)
        best = (torch.stack(errors) @ member).argmin(0)  # (clusters,)
        return best[cluster]


def describe(newest: Tensor, older: Tensor, oldest: Tensor) -> Tensor:
    """``(D, 3)``: energy, difference and curvature of each channel of residuals ``(T, D)``, as logarithms."""
    b, a, c = newest.float(), older.float(), oldest.float()
    features = [x.abs().mean(0) for x in (b, b - a, b - 2 * a + c)]
    return torch.stack(features, 1).clamp_min(1e-12).log()


def cluster_channels(points: Tensor) -> Tensor:
    """k-means: the cluster of each of ``points`` ``(D, F)``, ``(D,)``; begins at quantiles, draws nothing."""
    scaled = (points - points.mean(0)) / points.std(0).clamp_min(1e-6)
    order = scaled[:, 0].argsort()
    starts = [(2 * i + 1) * len(points) // (2 * CLUSTERS) for i in range(CLUSTERS)]
    centres = scaled[order[starts]]
    for _ in range(ROUNDS):
        cluster = torch.cdist(scaled, centres).argmin(1)
        member = torch.nn.functional.one_hot(cluster, CLUSTERS).float()  # (D, clusters)
        size = member.sum(0)[:, None]
        centres = torch.where(size > 0, member.T @ scaled / size.clamp_min(1), centres)
    return torch.cdist(scaled, centres).argmin(1)


POLICIES = (
    NamedPolicy(
        "hyca",
        "HyCa",
        Group.INTERVAL,
        when="every n-th step is computed",
        how="a numerical solver for each cluster of channels",
        policy=Policy(FixedInterval.name, HyCa.name, interval=3, warmup_steps=4),
        source=Source("HyCa", "2510.04188"),
    ),
)
