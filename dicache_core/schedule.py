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
LEAST_SIGNAL = 0.1  # what is divided by the signal goes by no less of it: nearer to noise models do not follow


def rectified_flow(sigma: float) -> float:
    """Noise's share of ``x`` where ``x = sigma noise + (1 - sigma) picture``."""
    return sigma


@dataclass(frozen=True, slots=True)
class Lane:
    """Calls of the model whose sigmas never rise: all that most samplers make, or one of each stage where some go back.

    Slots:
        sigmas: of the calls; two in a row are equal where a sampler looks at a noise level twice, as Heun's method.
        weights: per call, what its value weighs in the sampler's result; an Euler step's is its own dsigma. Empty where
            nobody knows.
        noise: per call, what is left of the noise that the run began with, 1 where the sampler adds none. Empty: 1.
        looks_back: whether values are used again with later steps, as by multistep samplers: a value weighs other than
            the way to the next call.
    """

    sigmas: tuple[float, ...]
    weights: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    looks_back: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        ways = (after - before for before, after in pairwise(self.sigmas))
        same = (math.isclose(w, way, rel_tol=SAME_WEIGHT) for w, way in zip(self.weights, ways, strict=False))
        object.__setattr__(self, "looks_back", not all(same))

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
class Step:
    """One call of the model, in the interval ``sigmas[index] >= sigma > sigmas[index + 1]`` of the schedule.

    Slots:
        schedule: the run's.
        index: position of the interval in this run, from 0.
        sigma: noise level of this forward pass, in the model's own units.
        lane: the calls that this one belongs to.
        call: its place among them; of a call that nobody expected, the step's.
        planned: whether it was expected.
    """

    schedule: Schedule
    index: int
    sigma: float
    lane: Lane
    call: int
    planned: bool = True

    @property
    def place(self) -> int:
        """Position in the whole schedule, from 0; larger than ``index`` when a run starts mid-schedule."""
        return self.schedule.steps_before + self.index

    @property
    def total(self) -> int:
        """Steps of the whole schedule."""
        return self.schedule.total

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The whole run's schedule, its end included."""
        return self.schedule.sigmas

    @property
    def final(self) -> bool:
        """Whether this is the last call of its lane; of calls that nobody expected, the last interval."""
        last = len(self.lane.sigmas) if self.planned else self.schedule.steps
        return self.call == last - 1

    @property
    def progress(self) -> float:
        """Share of the whole schedule that lies before this step, in [0, 1)."""
        return self.place / self.total

    @property
    def next_sigma(self) -> float:
        """Where this interval ends."""
        return self.sigmas[self.index + 1]

    @property
    def time(self) -> float:
        """``index`` and the part of the interval that is already behind: a time that grows by 1 per step."""
        start, end = self.sigmas[self.index], self.next_sigma
        return self.index + (start - self.sigma) / (start - end) if start > end else float(self.index)

    @property
    def log_snr(self) -> float:
        """Half the log signal-to-noise ratio here, softened at both ends."""
        return self.schedule.log_snr(self.sigma)

    @property
    def signal(self) -> float:
        """How much of the picture ``x`` holds, ``x = signal picture + sigma noise``, softened where that is nothing."""
        share = self.schedule.noise_share(self.sigma)
        return (max(0.0, 1.0 - share) + EDGE) * self.sigma / share

    @property
    def next_in_lane(self) -> float:
        """Sigma of the lane's next call; behind the last one the run's end."""
        ahead = self.call + 1
        return self.lane.sigmas[ahead] if ahead < len(self.lane.sigmas) else self.sigmas[-1]

    @property
    def width(self) -> float:
        """How far the lane goes on from here to its next call, in sigma."""
        return self.sigma - self.next_in_lane

    @property
    def stake(self) -> float:
        """How far ``x`` goes, in sigma, by this call's value: what it weighs, or the whole way where nobody knows.

        Predictor-correctors give a call a large weight and its neighbour one that takes it back: hence twice the way at
        most.
        """
        if self.weight is None:
            return self.width
        weight = max(abs(self.weight), LEAST_WEIGHT * self.width)
        return min(weight, LARGEST_WEIGHT * self.width) if self.width > 0 else weight

    def calls_since(self, earlier: Step) -> int:
        """How many calls ago another one was, in steps where either was not expected."""
        return self.call - earlier.call if self.planned and earlier.planned else self.index - earlier.index

    def at(self, call: int) -> Step:
        """Another call of the same lane."""
        sigma = self.lane.sigmas[call]
        return Step(self.schedule, self.schedule.index_of(sigma), sigma, self.lane, call, self.planned)

    @property
    def noise_is_new(self) -> bool:
        """Whether the sampler adds noise in this run, so that little is left of the one that it began with."""
        return self.planned and bool(self.lane.noise) and min(self.lane.noise) < SAME_NOISE

    @property
    def weight(self) -> float | None:
        """What this call's value weighs in the sampler's result; ``None`` where nobody knows."""
        return self.lane.weights[self.call] if self.planned and self.lane.weights else None


@dataclass(frozen=True)
class Schedule:
    """The sigmas of one sampling run, falling, with the last one (usually 0) as its end.

    Slots:
        steps_before, steps_after: how many steps of the whole schedule other runs take, so that a second expert that
            starts mid-schedule knows that the structure of the picture is already settled.
        lanes: the calls that the sampler will make; without them, one per step, each weighing its dsigma.
        of_pictures: whether the values that are forecast are the pictures that the model sees, as under samplers that
            add noise; directions ``d`` otherwise.
        noise_share: sigma -> the noise's share of ``x``, in [0, 1]: what log-SNR is reckoned from.
        unplanned: where calls stand that nobody expected, one per step.
    """

    sigmas: tuple[float, ...]
    steps_before: int = 0
    steps_after: int = 0
    lanes: tuple[Lane, ...] = ()
    of_pictures: bool = False
    noise_share: Callable[[float], float] = field(default=rectified_flow, compare=False)
    unplanned: Lane = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.sigmas) < 2:
            raise ValueError(f"a schedule needs at least two sigmas (one step), got {len(self.sigmas)}")
        if not self.lanes:
            widths = [b - a for a, b in zip(self.sigmas, self.sigmas[1:], strict=False)]
            object.__setattr__(self, "lanes", in_lanes(self.sigmas[:-1], widths))
        object.__setattr__(self, "unplanned", Lane(self.sigmas[:-1]))

    @property
    def steps(self) -> int:
        """Steps of this run."""
        return len(self.sigmas) - 1

    @property
    def total(self) -> int:
        """Steps of the whole schedule."""
        return self.steps_before + self.steps + self.steps_after

    def log_snr(self, sigma: float) -> float:
        """Half the log signal-to-noise ratio at ``sigma``, ``log((1 - s) / s)`` with the noise's share ``s``.

        In it a model's output moves at an even pace, so that lines through it reach further than in sigma.
        """
        share = self.noise_share(sigma)
        return math.log((max(0.0, 1.0 - share) + EDGE) / (share + EDGE))

    def step_at(self, sigma: float, lane: int = 0, call: int | None = None) -> Step:
        """The step that ``sigma`` falls into; samplers also evaluate between and slightly above schedule points.

        ``lane`` and ``call`` are what a ``LaneBook`` says of it; without ``call`` it is the lane's first at this sigma.
        """
        index = self.index_of(sigma)
        if lane < len(self.lanes):
            found = self.lanes[lane].find(sigma) if call is None else call
            if found is not None:
                return Step(self, index, sigma, self.lanes[lane], found)
        return Step(self, index, sigma, self.unplanned, index, planned=False)

    def index_of(self, sigma: float) -> int:
        """The interval that ``sigma`` falls into."""
        index = bisect_left(self.sigmas, -sigma, key=neg)  # the first that is not above it, but for rounding
        if index == len(self.sigmas) or not same_sigma(sigma, self.sigmas[index]):
            index -= 1
        while index > 0 and same_sigma(sigma, self.sigmas[index - 1]):
            index -= 1
        return min(max(index, 0), self.steps - 1)


class LaneBook:
    """Sorts the calls of a run into lanes, each call into the first lane that it continues.

    Calls that are expected find their place in ``expected``, each place taken once: where a sampler looks at a noise
    level once and something else calls the model again, that is another lane.  Those nobody expects are sorted into
    lanes of their own, behind the expected ones, in which sigmas fall.
    """

    def __init__(self, expected: Sequence[Lane] = ()) -> None:
        self._expected = expected
        self._next = [0] * len(expected)  # per expected lane, the first call that is not behind it
        self._last: list[float] = []  # per other lane

    def enter(self, sigma: float) -> tuple[int, int | None]:
        """The lane of a call at ``sigma``, and its place there if it was expected."""
        for number, lane in enumerate(self._expected):
            call = lane.find(sigma, self._next[number])
            if call is not None:
                self._next[number] = call + 1
                return number, call
        for lane, last in enumerate(self._last):
            if sigma < last and not same_sigma(sigma, last):
                self._last[lane] = sigma
                return len(self._expected) + lane, None
        self._last.append(sigma)
        return len(self._expected) + len(self._last) - 1, None


def in_lanes(sigmas: Sequence[float], weights: Sequence[float] = (), noise: Sequence[float] = ()) -> tuple[Lane, ...]:
    """The calls of a run at these sigmas, in the order in which they are made; see ``Lane`` for weights and noise.

    A call goes into the first lane whose last one is not below it.
    """
    last: list[float] = []  # per lane
    number: list[int] = []
    for sigma in sigmas:
        lane = next((i for i, low in enumerate(last) if sigma <= low or same_sigma(sigma, low)), len(last))
        last[lane:] = [sigma, *last[lane + 1 :]]
        number.append(lane)

    def of(lane: int, values: Sequence[float]) -> tuple[float, ...]:
        return tuple(value for value, owner in zip(values, number, strict=False) if owner == lane)

    return tuple(Lane(of(i, sigmas), of(i, weights), of(i, noise)) for i in range(len(last)))
