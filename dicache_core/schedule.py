"""Where a forward pass stands in the sampling schedule, found from its sigma and never by counting calls."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import neg

# Samplers recompute sigmas in float32 (sigma * s_in, exp(-log sigma)), so equal sigmas differ in the last digits.
SIGMA_TOLERANCE = 1e-4
SAME_WEIGHT = 1e-2  # relative: a sampler's weights come out of its own arithmetic
SAME_NOISE = 0.97  # with less of it left, a forecast shows noise that is no longer there
LEAST_WEIGHT = 1 / 4  # of the way to the next call: what hangs on a value that only helps to find other calls' inputs
LARGEST_WEIGHT = 2  # of the same way
EDGE = 0.005  # keeps log-SNR finite at both ends of the schedule
FEW_VALUES = 2304  # of a latent: what is softened near noise was measured at so many, see ``Schedule.softening``
LEAST_SIGNAL = 0.1  # what is divided by the signal goes by no less of it: nearer to noise models do not follow


def rectified_flow(sigma: float) -> float:
    """Noise's share of ``x`` where ``x = sigma noise + (1 - sigma) picture``."""
    return sigma


@dataclass(frozen=True, slots=True)
class CallSequence:
    """Calls of the model whose sigmas never rise: all that most samplers make, or one of each stage where some go back.

    Attributes:
        sigmas: of the calls; two in a row are equal where a sampler looks at a noise level twice, as Heun's method.
        weights: per call, what its value weighs in the sampler's result; an Euler step's is its own dsigma. Empty where
            nobody knows.
        noise: per call, what is left of the noise that the run began with, 1 where the sampler adds none. Empty: 1.
        next_weights: per call, under a sampler that adds noise, what its value weighs in the ``x`` of the call after
            it, after the last one in the result. Empty where nobody knows.
        is_multistep: whether values are used again with later steps, as by multistep samplers: a value weighs other
            than the way to the next call.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    next_weights: tuple[float, ...] = ()
    is_multistep: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        ways = (after - before for before, after in pairwise(self.sigmas))
        same = (math.isclose(w, way, rel_tol=SAME_WEIGHT) for w, way in zip(self.weights, ways, strict=False))
        object.__setattr__(self, "is_multistep", not all(same))

    def find(self, sigma: float, first: int = 0) -> int | None:
        """The call at this sigma, the first one from ``first`` on; ``None`` if there is none."""
        low, high = first, len(self.sigmas)
        while low < high:
            middle = (low + high) // 2
            if self.sigmas[middle] > sigma and not same_sigma(self.sigmas[middle], sigma):
                low = middle + 1
            else:
                high = middle
        return low if low < len(self.sigmas) and same_sigma(self.sigmas[low], sigma) else None


def same_sigma(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=SIGMA_TOLERANCE, abs_tol=1e-8)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of the model, in the interval ``sigmas[step_index] >= sigma > sigmas[step_index + 1]`` of the schedule.

    Attributes:
        schedule: the run's.
        step_index: position of the interval in this run, from 0.
        sigma: noise level of this forward pass, in the model's own units.
        sequence: the calls that this one belongs to.
        call_index: its place among them; of a call that nobody expected, the step's.
        planned: whether it was expected.
    """

    schedule: Schedule
    step_index: int
    sigma: float
    sequence: CallSequence
    call_index: int
    planned: bool = True

    @property
    def global_step(self) -> int:
        """Position in the whole schedule, from 0; larger than ``step_index`` when a run starts mid-schedule."""
        return self.schedule.steps_before + self.step_index

    @property
    def total(self) -> int:
        """Steps of the whole schedule."""
        return self.schedule.total

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The whole run's schedule, its end included."""
        return self.schedule.sigmas

    @property
    def is_last(self) -> bool:
        """Whether this is the last call of its sequence; of calls that nobody expected, the last interval."""
        last = len(self.sequence.sigmas) if self.planned else self.schedule.steps
        return self.call_index == last - 1

    @property
    def progress(self) -> float:
        """Share of the whole schedule that lies before this step, in [0, 1)."""
        return self.global_step / self.total

    @property
    def next_sigma(self) -> float:
        """Where this interval ends."""
        return self.sigmas[self.step_index + 1]

    @property
    def time(self) -> float:
        """``step_index`` and the part of the interval that is already behind: a time that grows by 1 per step."""
        start, end = self.sigmas[self.step_index], self.next_sigma
        return self.step_index + (start - self.sigma) / (start - end) if start > end else float(self.step_index)

    @property
    def log_snr(self) -> float:
        """Half the log signal-to-noise ratio here, softened at both ends."""
        return self.schedule.log_snr(self.sigma)

    @property
    def alpha(self) -> float:
        """How much of the image ``x`` holds, ``x = alpha image + sigma noise``, softened where that is nothing."""
        return self.schedule.alpha(self.sigma)

    @property
    def next_call_sigma(self) -> float:
        """Sigma of the sequence's next call; after the last one the run's end."""
        ahead = self.call_index + 1
        return self.sequence.sigmas[ahead] if ahead < len(self.sequence.sigmas) else self.sigmas[-1]

    @property
    def dsigma(self) -> float:
        """How far the sequence goes on from here to its next call, in sigma."""
        return self.sigma - self.next_call_sigma

    @property
    def clamped_weight(self) -> float:
        """How far ``x`` goes, in sigma, by this call's value: what it weighs, or the whole way where nobody knows.

        Predictor-correctors give a call a large weight and its neighbour one that takes it back: hence twice the way at
        most.
        """
        if self.weight is None:
            return self.dsigma
        weight = max(abs(self.weight), LEAST_WEIGHT * self.dsigma)
        return min(weight, LARGEST_WEIGHT * self.dsigma) if self.dsigma > 0 else weight

    def calls_since(self, earlier: ModelCall) -> int:
        """How many calls ago another one was, in steps where either was not expected."""
        if self.planned and earlier.planned:
            return self.call_index - earlier.call_index
        return self.step_index - earlier.step_index

    def at(self, call_index: int) -> ModelCall:
        """Another call of the same sequence."""
        sigma = self.sequence.sigmas[call_index]
        return ModelCall(self.schedule, self.schedule.index_of(sigma), sigma, self.sequence, call_index, self.planned)

    @property
    def noise_is_new(self) -> bool:
        """Whether the sampler adds noise in this run, so that little is left of the one that it began with."""
        return self.planned and bool(self.sequence.noise) and min(self.sequence.noise) < SAME_NOISE

    @property
    def image_share(self) -> float | None:
        """How much of the image in the next call's ``x`` this call's value is; ``None`` where nobody knows."""
        if not self.planned or not self.sequence.next_weights:
            return None
        return self.sequence.next_weights[self.call_index] / self.schedule.alpha(self.next_call_sigma)

    @property
    def weight(self) -> float | None:
        """What this call's value weighs in the sampler's result; ``None`` where nobody knows."""
        return self.sequence.weights[self.call_index] if self.planned and self.sequence.weights else None


@dataclass(frozen=True)
class Schedule:
    """The sigmas of one sampling run, falling, with the last one (usually 0) as its end.

    Attributes:
        steps_before, steps_after: how many steps of the whole schedule other runs take, so that a second expert that
            starts mid-schedule knows that the structure of the image is already laid out.
        sequences: the calls that the sampler will make; without them, one per step, each weighing its dsigma.
        predicts_denoised: whether the values that are forecast are the images that the model sees, as under samplers
            that add noise; directions ``d`` otherwise.
        sampler_known: whether it is known what the sampler does with the values; ``sequences`` are a guess otherwise.
        noise_share: sigma -> the noise's share of ``x``, in [0, 1]: what log-SNR is reckoned from.
        values: numbers in the latent of one sample; of several latents that are denoised together, in the largest.
        unplanned: where calls stand that nobody expected, one per step.
    """

    sigmas: tuple[float, ...]
    steps_before: int = 0
    steps_after: int = 0
    sequences: tuple[CallSequence, ...] = ()
    predicts_denoised: bool = False
    sampler_known: bool = True
    noise_share: Callable[[float], float] = field(default=rectified_flow, compare=False)
    values: int = FEW_VALUES
    unplanned: CallSequence = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.sigmas) < 2:
            raise ValueError(f"a schedule needs at least two sigmas (one step), got {len(self.sigmas)}")
        if not self.sequences:
            widths = [b - a for a, b in zip(self.sigmas, self.sigmas[1:], strict=False)]
            object.__setattr__(self, "sequences", in_sequences(self.sigmas[:-1], widths))
        object.__setattr__(self, "unplanned", CallSequence(self.sigmas[:-1]))

    @property
    def steps(self) -> int:
        """Steps of this run."""
        return len(self.sigmas) - 1

    @property
    def total(self) -> int:
        """Steps of the whole schedule."""
        return self.steps_before + self.steps + self.steps_after

    @property
    def softening(self) -> float:
        """How much less than in a latent of ``FEW_VALUES`` the noise hides, at most 1: ``sqrt(FEW_VALUES / values)``.

        Whether a noisy latent already shows its scene depends on its signal-to-noise ratio times the root of the number
        of its values: averaged over more of them, the same ratio tells more.
        """
        return min(1.0, math.sqrt(FEW_VALUES / self.values))

    def log_snr(self, sigma: float, edge: float = EDGE) -> float:
        """Half the log signal-to-noise ratio at ``sigma``, ``log((1 - s) / s)`` with the noise's share ``s``.

        In it a model's output moves at an even pace, so that lines through it reach further than in sigma.  ``edge``
        keeps it finite.
        """
        share = self.noise_share(sigma)
        return math.log((max(0.0, 1.0 - share) + edge) / (share + edge))

    def alpha(self, sigma: float) -> float:
        """``a`` of ``x = a image + sigma noise`` at ``sigma``, softened where that is nothing."""
        share = self.noise_share(sigma)
        return (max(0.0, 1.0 - share) + EDGE) * sigma / share if share > 0 else 1.0

    def step_at(self, sigma: float, sequence: int = 0, call_index: int | None = None) -> ModelCall:
        """The step that ``sigma`` falls into; samplers also evaluate between and slightly above schedule points.

        ``sequence`` and ``call_index`` are what a ``CallTracker`` says of it; without ``call_index`` it is the
        sequence's first at this sigma.
        """
        index = self.index_of(sigma)
        if sequence < len(self.sequences):
            found = self.sequences[sequence].find(sigma) if call_index is None else call_index
            if found is not None:
                return ModelCall(self, index, sigma, self.sequences[sequence], found)
        return ModelCall(self, index, sigma, self.unplanned, index, planned=False)

    def index_of(self, sigma: float) -> int:
        """The interval that ``sigma`` falls into."""
        index = bisect_left(self.sigmas, -sigma, key=neg)  # the first that is not above it, but for rounding
        if index == len(self.sigmas) or not same_sigma(sigma, self.sigmas[index]):
            index -= 1
        while index > 0 and same_sigma(sigma, self.sigmas[index - 1]):
            index -= 1
        return min(max(index, 0), self.steps - 1)


class CallTracker:
    """Sorts the calls of a run into sequences, each call into the first sequence that it continues.

    Calls that are expected find their place in ``expected``, each place taken once: where a sampler looks at a noise
    level once and something else calls the model again, that is another sequence.  Those nobody expects are sorted into
    sequences of their own, after the expected ones, in which sigmas fall.
    """

    def __init__(self, expected: Sequence[CallSequence] = ()) -> None:
        self._expected = expected
        self._next = [0] * len(expected)  # per expected sequence, the first call that is not behind it
        self._last: list[float] = []  # per other sequence

    def enter(self, sigma: float) -> tuple[int, int | None]:
        """The sequence of a call at ``sigma``, and its index there if it was expected."""
        for number, sequence in enumerate(self._expected):
            call_index = sequence.find(sigma, self._next[number])
            if call_index is not None:
                self._next[number] = call_index + 1
                return number, call_index
        for sequence, last in enumerate(self._last):
            if sigma < last and not same_sigma(sigma, last):
                self._last[sequence] = sigma
                return len(self._expected) + sequence, None
        self._last.append(sigma)
        return len(self._expected) + len(self._last) - 1, None


def in_sequences(
    sigmas: Sequence[float],
    weights: Sequence[float] = (),
    noise: Sequence[float] = (),
    next_weights: Sequence[float] = (),
) -> tuple[CallSequence, ...]:
    """The calls of a run at these sigmas, in the order in which they are made; see ``CallSequence`` for the rest.

    A call goes into the first sequence whose last one is not below it.
    """
    last: list[float] = []  # per sequence
    number: list[int] = []
    for sigma in sigmas:
        sequence = next((i for i, low in enumerate(last) if sigma <= low or same_sigma(sigma, low)), len(last))
        last[sequence:] = [sigma, *last[sequence + 1 :]]
        number.append(sequence)

    def of(sequence: int, values: Sequence[float]) -> tuple[float, ...]:
        return tuple(value for value, owner in zip(values, number, strict=False) if owner == sequence)

    return tuple(
        CallSequence(of(i, sigmas), of(i, weights), of(i, noise), of(i, next_weights)) for i in range(len(last))
    )
