"""What was decided for one sample at one call of the model, and why.

``ForwardPass.decide`` asks.  A decision that needs no measurement comes from ``SampleHistory.forced_decision``.  Any
other is taken by the ``StreamGroup`` of the sample: its ``Gate`` holds the rule's error against the threshold, and what
the gate lets pass may still be vetoed by the predictor's latent error.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..reasons import Reason, StepCode

CODES = {Reason.WARM_UP: StepCode.WARM_UP, Reason.LAST_STEP: StepCode.LAST}  # of computed calls, if not COMPUTED


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one sample at one step, and why.

    Attributes:
        reuse: whether the sample is skipped and rebuilt.
        reason: why.
        error: of the rule that says *when*, in its own scale; ``None``, as those below, where nothing was measured.
        accumulated: the sum of errors that the threshold was compared with.
        gamma: the predictor's extrapolation factor.
        latent_error: of the run with this step skipped too, see ``ErrorEstimator``.
        measured: the indicator's sums.
        share: of a stack that is decided in parts, how much of its blocks ran, in [0, 1]; ``None`` of any other.
    """

    reuse: bool
    reason: Reason
    error: float | None = None
    accumulated: float | None = None
    gamma: float | None = None
    latent_error: float | None = None
    measured: tuple[float, ...] = ()
    share: float | None = None

    @property
    def code(self) -> StepCode:
        """How the call is shown."""
        if self.reuse and self.share is not None:
            return StepCode.PARTIAL
        return StepCode.REUSED if self.reuse else CODES.get(self.reason, StepCode.COMPUTED)


# Of a pass whose forward never came to the blocks that decide: whatever it did instead, the cache saved nothing.
UNDECIDED = Decision(reuse=False, reason=Reason.NO_BLOCK_SEEN)
