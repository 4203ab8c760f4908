"""How far off a run's final image may be, estimated from what its sampler is given: the guided output of every call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .engine.storage import OUT_OF_MEMORY
from .reductions import Reducer, to_host

RIDGE = 1e-6  # of the streams' mean square: keeps their weights at the first guess where the streams hardly differ


@dataclass(frozen=True)
class GuidedPart:
    """One sample of one stream in one call of the guider.

    Attributes:
        row: the sample's place in the batch.
        weight: first guess of what its output weighs in the guided one, ``s`` and ``1 - s`` under a scale ``s``.
        denoised: ``(C, ...)``, as the guider got it.
        displaced: ``(C, ...)`` what the skips before have displaced in the image of this stream alone, where the call
            was computed after skips.
    """

    row: int
    weight: float
    denoised: Tensor
    displaced: Tensor | None


class ImageErrorEstimator:
    """Estimates by how much (rms) skipped calls have displaced the final images of a run, by the audits after them.

    It is in the model's own latent units, in which an image's spread is about 1.

    Guidance multiplies what each stream is off by: with ``D_g = sum c_i D_i`` after the guider, the image is displaced
    by ``sum c_i q_i``, with ``q_i`` what each stream's audit says.  The two are alike in most runs, so that their
    difference counts, and it counts as a tensor.  ``c`` is found by least squares, call by call, so that it holds for
    whatever stands between the streams and the sampler (another guider, a function of a node, a schedule of scales).

    Sums stay on the device until the run's end: no sync.
    """

    def __init__(self) -> None:
        self._audits: list[_Audit] = []
        self._guided: tuple[int, float] | None = None  # of the newest call: elements of a sample, largest first guess
        self._lost = False

    def add(self, denoised: Tensor, parts: Sequence[GuidedPart]) -> None:
        """See the guided output ``(N, C, ...)`` of a call and the streams that it was made of."""
        several = len(parts) > len(denoised)
        self._guided = denoised[0].numel(), max(abs(part.weight) for part in parts) if several else 1.0
        if self._lost:
            return
        try:
            for row, guided in enumerate(denoised):
                self._audit(row, guided, [part for part in parts if part.row == row])
        except OUT_OF_MEMORY:  # nothing is known of this run any more; sampling needs none of it
            self.lose()

    def add_unaudited(self, row: int, squares: Tensor, values: int) -> None:
        """A stream of ``values`` numbers is gone, and with it the audit of its newest skips.

        ``squares``, 0-d, is a guess at it.  What guidance makes of it is not known, so that it counts by the
        largest scale.
        """
        if self._lost or self._guided is None:
            return
        numel, weight = self._guided
        self._audits.append(_Audit(row, (weight,), (squares * (numel / values))[None], known=False))

    def lose(self) -> None:
        """Say nothing of this run."""
        self._lost, self._audits = True, []

    def finalize(self, reduce: Reducer | None = None) -> dict[int, float]:
        """The error of each row's image, at the run's end; one sync.  Empty where nothing was audited."""
        if not self._audits:
            return {}
        numel = torch.full((), float(self._guided[0]), device=self._audits[-1].sums.device)
        numel, *values = to_host([numel, *(value for a in self._audits for value in a.sums.unbind())], reduce)
        values, squares = iter(values), dict.fromkeys(sorted(audit.row for audit in self._audits), 0.0)
        for audit in self._audits:
            squares[audit.row] += audit.squares([next(values) for _ in audit.sums]) / numel
        return {row: _root(found) for row, found in squares.items()}

    def _audit(self, row: int, guided: Tensor, parts: Sequence[GuidedPart]) -> None:
        if all(part.displaced is None for part in parts):
            return
        displaced = [_or_zeros(part).to(guided.device) for part in parts]
        weights = (1.0,) if len(parts) == 1 else tuple(part.weight for part in parts)
        known = len(parts) > 1 and all(part.denoised.shape == guided.shape for part in parts)
        if known:
            streams = [part.denoised.to(guided.device).float() for part in parts]
            left = guided.float() - sum(weight * stream for weight, stream in zip(weights, streams, strict=True))
            sums = [*_products(displaced), *_products(streams), *(_dot(stream, left) for stream in streams)]
        else:  # one stream alone, or windows and areas, of which nobody knows how the guider put them together
            sums = [_dot(q, q) * (guided.numel() / q.numel()) for q in displaced]
        self._audits.append(_Audit(row, weights, torch.stack(sums), known))


@dataclass(frozen=True)
class _Audit:
    """Of one sample at one call: what is displaced in ``K`` streams of first guess ``weights``.

    Attributes:
        sums: ``(S,)``; where it is ``known`` how the streams add up, the products of what is displaced, of the streams,
            and of each stream with what the first guess leaves of the guided output; else the squares of what is
            displaced.
    """

    row: int
    weights: tuple[float, ...]
    sums: Tensor
    known: bool

    def squares(self, sums: Sequence[float]) -> float:
        """Sum of squares of what is displaced after guidance; the largest that it can be where that is not known."""
        if not all(map(math.isfinite, sums)):
            return math.inf
        if not self.known:
            return sum(abs(w) * _root(s) for w, s in zip(self.weights, sums, strict=True)) ** 2
        count = len(self.weights)
        pairs = len(_pairs(count))
        weights = _least_squares(_symmetric(sums[pairs : 2 * pairs], count), sums[2 * pairs :], self.weights)
        return max(0.0, float(weights @ _symmetric(sums[:pairs], count) @ weights))


def _least_squares(products: Tensor, with_left: Sequence[float], guess: Sequence[float]) -> Tensor:
    """``argmin |D_g - sum c_i D_i|^2 + ridge |c - guess|^2``, ``(K,)`` on the host.

    Solved for what the guess leaves of ``D_g``, as streams are alike and sums of float32 have but seven digits.
    """
    ridge = RIDGE * products.diagonal().mean() * torch.eye(len(guess), dtype=torch.float64)
    further = torch.linalg.lstsq(products + ridge, torch.tensor(with_left, dtype=torch.float64)[:, None]).solution
    return torch.tensor(guess, dtype=torch.float64) + further[:, 0]


def _root(squares: float) -> float:
    """Of what rounding may have left below 0; of what is no number infinity."""
    return math.sqrt(max(squares, 0.0)) if math.isfinite(squares) else math.inf


def _symmetric(upper: Sequence[float], size: int) -> Tensor:
    """``(size, size)`` of its upper triangle, row by row."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for (i, j), value in zip(_pairs(size), upper, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix


def _pairs(size: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(size) for j in range(i, size)]


def _products(rows: Sequence[Tensor]) -> list[Tensor]:
    return [_dot(rows[i], rows[j]) for i, j in _pairs(len(rows))]


def _or_zeros(part: GuidedPart) -> Tensor:
    return torch.zeros_like(part.denoised, dtype=torch.float32) if part.displaced is None else part.displaced


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()
