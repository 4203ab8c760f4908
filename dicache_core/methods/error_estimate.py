"""How far skipping has displaced the latent and the image of a run, by what the run itself computed: no further call
of the model is made for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..schedule import ModelCall
from ..target import FEW_STEPS, MANY_STEPS

SEEN = 0.1  # of the image: near its end a run puts out what no forecast knows and nobody sees
FIRST_GUESS = 0.3  # of the output: trained models' first forecasts were off by 0.1 to 0.2 of it
SMALL = 1 / 4  # of the latent error so far: a skip that adds less makes it larger by a thirtieth at most
MULTISTEP = 2  # times as far off were images under dpmpp_2m as under euler after the same audits


class ErrorEstimator:
    """Every computed call is an audit: what would a skip have put in its place, and how far is that from what came?

    Skipped calls move ``x`` by ``D = sum(w) e``, with ``w`` what each weighs in the sampler's result and ``e`` how far
    the forecast of the computed call after them was off (rms).  The calls after them see ``x`` moved, by ``D``
    against the signal that is there by then, ``s`` being the noise's share of ``x``:

        ``latent_sq = sqrt(sum (D (s / sigma) / (1 - s))^2)``,

    summed over a run and taken against the rms of its image; that is ``D / (1 - s)`` in a rectified flow and ``D``
    under an eps model.  One call of 20 forecast and not made good moved the images of three flow models by 1 to 3
    times that, wherever it stood (by 28 to 100 times ``D`` at the third call, 2 to 3 times at the last), a U-Net's by
    0.4 to 0.7.  A skip is vetoed by it.

    The computed call after them makes good most of it.  What is seen in the end goes by ``D (s / sigma)^2``, and by how
    much noise is left for the image to follow from it, see ``displaced_by``.

    What one more skip would add follows from the newest audit, as ``e`` grows in proportion to how far a forecast
    reaches in log-SNR.  Before the first audit it is guessed; where an audit finds that a forecast was off by all of
    the output, the model jumps, and nothing is worth skipping.

    Sums of squares stay on the device until a decision asks for them, so that the estimate costs no sync of its own.
    """

    def __init__(self) -> None:
        self.latent_weight = 0.0  # sum of w (s / sigma) / (1 - s) over the calls skipped since the newest computed one
        self.image_weight = 0.0  # sum of w (s / sigma)^2 over them
        self._skipped: tuple[ModelCall, ModelCall] | None = None  # the first and the last of them
        self.horizon = 0.0  # of the audited forecast, in log-SNR; 0 before the first audit
        self._on_device: tuple[Tensor, ...] = ()  # sums of squares, 0-d: latent error, e, denoised, output
        self._fetched: tuple[float, ...] | None = None  # the same four

    @property
    def audited(self) -> bool:
        """Whether a forecast of this run was ever held against what came."""
        return self.horizon > 0

    def skip(self, step: ModelCall) -> None:
        """A forecast takes the place of ``step``."""
        self.latent_weight += latent_weight_of(step)
        self.image_weight += image_weight_of(step)
        self._skipped = (self._skipped[0] if self._skipped else step, step)

    def compute(self, output: Tensor, denoised: Tensor, sq_error: Tensor | None = None, horizon: float = 0.0) -> None:
        """A call was computed, with its output and the image in it, ``(C, ...)`` both.

        ``sq_error`` is the sum of squares, 0-d, by which a forecast of it was off, ``horizon`` how far that had to
        reach.
        """
        latent_sq, error = self._on_device[:2] or output.new_zeros(2, dtype=torch.float32)
        if sq_error is not None:
            latent_sq = latent_sq + sq_error * self.latent_weight**2
            if horizon > 0:  # of two calls at one noise level the second tells nothing of other levels
                error, self.horizon = sq_error, horizon
        self._on_device = (latent_sq, error, denoised.float().square().sum(), output.float().square().sum())
        self._fetched, self.latent_weight, self.image_weight, self._skipped = None, 0.0, 0.0, None

    def displaced_by(self, error: Tensor, audit: ModelCall) -> Tensor:
        """What the skips before ``audit`` have displaced in the image, ``(C, ...)``, if each was off by ``error``.

        It goes by the noise's share at the audit: early errors grow, as the rest of the image follows from them, and
        near the end nothing does any more.  What a multistep sampler takes back of a value with its next steps has been
        answered by then, so that it counts twice.  How true that is: docs/closeness.md.
        """
        return error * (self.image_weight * _left_at(audit.sigma, audit))

    def unaudited(self) -> Tensor | None:
        """A guess at what ``displaced_by`` would say of skips after which no call will be computed: its sum of squares,
        0-d.  ``None`` where there are none.

        ``e`` grows with the horizon, up to the call that would have been the audit.
        """
        if self._skipped is None or not self._on_device:
            return None
        first, last = self._skipped
        _, error, _, output = self._on_device
        horizon = last.schedule.log_snr(last.next_call_sigma) - first.at(first.call_index - 1).log_snr
        sq_error = error * (horizon / self.horizon) ** 2 if self.audited else output * FIRST_GUESS**2
        return sq_error * (self.image_weight * _left_at(last.next_call_sigma, last)) ** 2

    def measure(self) -> Sequence[Tensor]:
        """The sums that ``load_sums`` takes, where it has not got them yet."""
        return self._on_device if self._fetched is None else ()

    def latent_error_with(self, step: ModelCall, horizon: float) -> float:
        """The run's latent error with ``step`` skipped too, by a forecast over this horizon; 0 before the first sums.

        What is spent does not come back: a skip that adds little to it is taken alone.
        """
        if self._fetched is None:
            return 0.0
        spent, sq_error, denoised, output = self._fetched
        visible = output * step.schedule.noise_share(step.sigma) ** 2  # what of the output is seen in the image
        if sq_error >= output and visible > denoised * SEEN**2:  # nothing at all would have been no worse a forecast
            return math.inf
        error = sq_error * (horizon / self.horizon) ** 2 if self.audited else output * FIRST_GUESS**2
        added = error * (self.latent_weight + latent_weight_of(step)) ** 2
        return _relative(added if added <= spent * SMALL**2 else spent + added, denoised)

    def load_sums(self, sums: Sequence[float]) -> None:
        """Take ``measure``'s sums."""
        if sums:
            self._fetched = tuple(sums)


def latent_weight_of(step: ModelCall) -> float:
    """What an error of this call's value is to the calls after it, see ``ErrorEstimator``."""
    if step.schedule.predicts_denoised:
        return _weight_of_denoised(step)
    # What a multistep sampler takes back with its next steps is in x until then, no less than the way to the next call.
    # Of a handful of steps little is built on it, and of many steps each is a short way.
    until_then = step.dsigma if FEW_STEPS < step.total < MANY_STEPS else 0.0
    return max(step.clamped_weight, until_then) / step.alpha


def image_weight_of(step: ModelCall) -> float:
    """What an error of this call's value weighs in the image, see ``ErrorEstimator``."""
    if step.schedule.predicts_denoised:
        return _weight_of_denoised(step)
    dsigma = step.dsigma if step.weight is None else step.weight
    return abs(dsigma) * (step.schedule.noise_share(step.sigma) / step.sigma) ** 2


def _left_at(sigma: float, call: ModelCall) -> float:
    """How much of what skips before an audit at ``sigma`` were off by stays in the image, see ``displaced_by``."""
    return call.schedule.noise_share(sigma) * (MULTISTEP if call.sequence.is_multistep else 1)


def _weight_of_denoised(step: ModelCall) -> float:
    """Of a value that is the image itself: its share of that in the next call's ``x``, or its weight in the result."""
    if step.image_share is not None:
        return abs(step.image_share)
    return 1.0 if step.weight is None else abs(step.weight)


def _relative(squares: float, denoised: float) -> float:
    return math.inf if denoised <= 0 else math.sqrt(squares / denoised)  # NaN stays what it is
