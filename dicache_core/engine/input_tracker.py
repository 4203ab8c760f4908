"""The model's input as a stream sees it from call to call: how far it moved, and whether it is the same image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..reductions import rel_l1, rel_l1_sums
from .input_jump import jumps, subsample


class InputTracker:
    """Some thousand values of the model's input ``x`` ``(C, ...)`` at this call and, until it is decided, the last.

    What is asked of ``x`` are means, for which a sample is enough: the whole would be kept for every stream.
    """

    def __init__(self) -> None:
        self._now: Tensor | None = None  # x, (K,) float32
        self._before: Tensor | None = None  # x', that of the call before

    @property
    def held(self) -> list[Tensor]:
        return [values for values in (self._now, self._before) if values is not None]

    def see(self, latent: Tensor) -> None:
        """``latent`` ``(C, ...)`` is the input of a call that begins."""
        self._now, self._before = subsample(latent[None])[0], self._now

    def jumped(self, max_distance: Tensor) -> Tensor | None:
        """Above 0 where ``x`` is farther from ``x'`` than ``max_distance`` (rms, 0-d); ``None`` at the first call."""
        return None if self._before is None else jumps(self._now, self._before, max_distance)

    def measure(self) -> Sequence[Tensor]:
        """The sums that ``rel_l1`` takes, 0-d float32; none while there is nothing to compare with."""
        return rel_l1_sums(self._now, self._before)

    def moved(self, sums: Sequence[float]) -> float:
        """``mean|x - x'| / mean|x'|``, or 1 where nobody shows ``x``: each call moves it as far as the next."""
        return rel_l1(sums) if sums else 1.0

    def commit(self) -> None:
        """The call is decided: from here on only the next one is compared."""
        self._before = None
