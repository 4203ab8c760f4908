"""How far off a run's picture may be, reckoned from what the run itself saw: nothing of the model is run for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .schedule import Step
from .target import FEW_STEPS, MANY_STEPS

SEEN = 0.1  # of the picture: near its end a run puts out what no forecast knows and nobody sees
FIRST_GUESS = 0.3  # of the output: trained models' first forecasts were off by 0.1 to 0.2 of it
SMALL = 1 / 4  # of the strain so far: a skip that adds less makes it larger by a thirtieth at most


class Account:
    """Every computed call is an audit: what would a skip have put in its place, and how far is that from what came?

    Skipped calls move ``x`` by ``D = sum(w) e``, with ``w`` what each weighs in the sampler's result and ``e`` how far
    the forecast of the computed call behind them was off (rms).  Two things follow, ``s`` being the noise's share of
    ``x``, both summed over a run and taken against the rms of its picture:

    - The calls behind them see ``x`` moved, by ``D`` against the signal that is there by then:

          ``strain = sqrt(sum (D (s / sigma) / (1 - s))^2)``,

      that is ``D / (1 - s)`` in a rectified flow and ``D`` under an eps model.  One call of 20 forecast and not made
      good moved the pictures of three flow models by 1 to 3 times that, wherever it stood (by 28 to 100 times ``D`` at
      the third call, 2 to 3 times at the last), a U-Net's by 0.4 to 0.7.  A skip is vetoed by it.
    - The computed call behind them makes good most of it.  What is seen in the end goes by

          ``risk = sqrt(sum (D (s / sigma)^2)^2)``.

      On six trained models its rank correlation with how far the picture really was off is 0.76 (``make bench-risk``).

    What one more skip would add follows from the newest audit, as ``e`` grows in proportion to how far a forecast
    reaches in log-SNR.  Before the first audit it is guessed; where an audit finds that a forecast was off by all of
    the output, the model jumps, and nothing is worth skipping.

    Sums of squares stay on the device until a decision asks for them, so that the account costs no sync of its own.
    """

    def __init__(self) -> None:
        self.strain = 0.0  # sum of w (s / sigma) / (1 - s) over the calls skipped since the newest computed one
        self.shown = 0.0  # sum of w (s / sigma)^2 over them
        self.reach = 0.0  # of the audited forecast, in log-SNR; 0 before the first audit
        self._on_device: tuple[Tensor, ...] = ()  # sums of squares, 0-d: strain, risk, e, picture, output
        self._fetched: tuple[float, ...] | None = None  # the same five

    @property
    def audited(self) -> bool:
        """Whether a forecast of this run was ever held against what came."""
        return self.reach > 0

    def skip(self, step: Step) -> None:
        """A forecast takes the place of ``step``."""
        self.strain += strain_of(step)
        self.shown += shown_of(step)

    def compute(self, output: Tensor, picture: Tensor, off: Tensor | None = None, reach: float = 0.0) -> None:
        """A call was computed, with its output and the picture in it, ``(C, ...)`` both.

        ``off`` is the sum of squares, 0-d, by which a forecast of it was off, ``reach`` how far that had to reach.
        """
        nothing = torch.zeros((), device=output.device)
        strain, risk, error = self._on_device[:3] or (nothing, nothing, nothing)
        if off is not None:
            strain, risk = strain + off * self.strain**2, risk + off * self.shown**2
            if reach > 0:  # of two calls at one noise level the second tells nothing of other levels
                error, self.reach = off, reach
        self._on_device = (strain, risk, error, picture.float().square().sum(), output.float().square().sum())
        self._fetched, self.strain, self.shown = None, 0.0, 0.0

    def measure(self) -> Sequence[Tensor]:
        """The sums that ``settle`` takes, where it has not got them yet."""
        return self._on_device if self._fetched is None else ()

    def strain_with(self, step: Step, reach: float) -> float:
        """The run's strain with ``step`` skipped too, by a forecast that reaches so far; 0 where nothing was settled.

        What is spent does not come back: a skip that adds little to it is taken alone.
        """
        if self._fetched is None:
            return 0.0
        spent, _, off, picture, output = self._fetched
        shown = output * step.schedule.noise_share(step.sigma) ** 2  # what of the output is seen in the picture
        if off >= output and shown > picture * SEEN**2:  # nothing at all would have been no worse a forecast
            return math.inf
        error = off * (reach / self.reach) ** 2 if self.audited else output * FIRST_GUESS**2
        added = error * (self.strain + strain_of(step)) ** 2
        return _relative(added if added <= spent * SMALL**2 else spent + added, picture)

    def settle(self, sums: Sequence[float]) -> float | None:
        """Take ``measure``'s sums; the risk of the run as it is, ``None`` for one that was never shown a picture."""
        if sums:
            self._fetched = tuple(sums)
        return None if self._fetched is None else _relative(self._fetched[1], self._fetched[3])


def strain_of(step: Step) -> float:
    """What an error of this call's value is to the calls behind it, see ``Account``."""
    if step.schedule.of_pictures:
        return _weight_of_picture(step)
    # What a multistep sampler takes back with its next steps is in x until then, no less than the way to the next call.
    # Of a handful of steps little is built on it, and of many steps each is a short way.
    until_then = step.width if FEW_STEPS < step.total < MANY_STEPS else 0.0
    return max(step.stake, until_then) / step.signal


def shown_of(step: Step) -> float:
    """What an error of this call's value weighs in the picture, see ``Account``."""
    if step.schedule.of_pictures:
        return _weight_of_picture(step)
    width = step.width if step.weight is None else step.weight
    return abs(width) * (step.schedule.noise_share(step.sigma) / step.sigma) ** 2


def _weight_of_picture(step: Step) -> float:
    """Of a value that is the picture itself."""
    return 1.0 if step.weight is None else abs(step.weight)


def _relative(squares: float, picture: float) -> float:
    return math.sqrt(squares / picture) if picture > 0 else math.inf
