"""A plan as data: which calls of a run are computed, as places between noise and image that fit any schedule."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .schedule import CallSequence, Schedule

SOFTENING = 0.005  # a part of what kept files mean: it stays, whatever softens a method's own log-SNR
DIGITS = 6  # of a share: a thousandth of a step of a thousand
MOST_COMPUTED = 500  # calls
MOST_CALLS = 1_000_000


def log_snr_share(noise: float) -> float:
    """How much of the way from noise to image lies behind, in log-SNR: 0 where all of ``x`` is noise, 1 where none is.

    ``noise`` is its share of ``x``, in [0, 1].
    """
    log_snr = math.log((max(0.0, 1.0 - noise) + SOFTENING) / (noise + SOFTENING))
    return (1 + log_snr / math.log((1 + SOFTENING) / SOFTENING)) / 2


@dataclass(frozen=True)
class CallPlan:
    """Which calls of a run are computed.

    Attributes:
        shares: where the computed calls stand, see ``log_snr_share``, rising; the first call and the last are among
            them.
        calls: of the run that it was found on.

    Raises:
        ValueError: for what is no such plan.
    """

    shares: tuple[float, ...]
    calls: int

    def __post_init__(self) -> None:
        if not 2 <= len(self.shares) <= MOST_COMPUTED or not len(self.shares) <= self.calls <= MOST_CALLS:
            raise ValueError(f"the plan computes {len(self.shares)} of {self.calls} calls")
        if not self.shares[0] >= 0 or not self.shares[-1] <= 1 or not _rises(self.shares):
            raise ValueError("the plan's shares do not rise from 0 to 1")

    @classmethod
    def of(cls, computed: Iterable[int], schedule: Schedule, sequence: CallSequence) -> CallPlan:
        """The plan that computes these calls of a sequence."""
        shares = shares_of(schedule, sequence)
        return cls(tuple(round(shares[call], DIGITS) for call in sorted(computed)), len(shares))

    def computed(self, shares: Sequence[float], count: int) -> frozenset[int]:
        """Which of the calls at these ``shares``, rising, are computed, where ``count`` of them are to be.

        The first and the last are.  Between them the plan's own places are followed.  Where it has more or fewer, or
        where the run is but a part of its way, so are places spread evenly among its own.  Each takes the nearest call
        that is left to it.
        """
        last, count = len(shares) - 1, min(max(count, 2), len(shares))
        begin, end = self._index_at(shares[0]), self._index_at(shares[-1])
        found = [0]
        for number in range(1, count - 1):
            wanted = self._share_at(begin + (end - begin) * number / (count - 1))
            open_calls = range(found[-1] + 1, last - (count - 1 - number) + 1)
            found.append(min(open_calls, key=lambda call: abs(shares[call] - wanted)))
        return frozenset([*found, last])

    def _index_at(self, share: float) -> float:
        """Where among the plan's computed calls a share lies; 1.5 is half way from the second one to the third."""
        before = bisect_right(self.shares, share) - 1
        if before < 0 or before == len(self.shares) - 1:
            return float(max(before, 0))
        return before + (share - self.shares[before]) / (self.shares[before + 1] - self.shares[before])

    def _share_at(self, index: float) -> float:
        """The share there."""
        before = min(int(index), len(self.shares) - 2)
        return self.shares[before] + (index - before) * (self.shares[before + 1] - self.shares[before])


def shares_of(schedule: Schedule, sequence: CallSequence) -> list[float]:
    """The share of each call of a sequence."""
    return [log_snr_share(schedule.noise_share(sigma)) for sigma in sequence.sigmas]


def _rises(values: Sequence[float]) -> bool:
    return all(before < after for before, after in pairwise(values))
