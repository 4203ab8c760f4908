"""What lines through outputs have in common: their anchors, and the audit that says how far to follow them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class OutputAnchor:
    """A computed call: its output ``(C, ...)`` and where it was, in sigma or log-SNR."""

    value: Tensor
    place: float


def hindsight(forecast: Tensor, true: Tensor) -> Tensor:
    """``clip(<p, d> / <p, p>, 0, 1)``, 0-d: the best factor on a change ``p`` that was forecast where ``d`` came.

    It stays on the device: no sync.
    """
    return best_factor((forecast * true).sum(), forecast.square().sum())


def best_factor(along: Tensor, length: Tensor) -> Tensor:
    """``hindsight`` from ``<p, d>`` and ``<p, p>``, 0-d both."""
    return (along / length).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
