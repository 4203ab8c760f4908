"""Which setting is the fastest that keeps a quality, or the closest that reaches a speed: the search, without a model.

What is asked for, what was measured, and the order in which to try.  Whoever measures hands in a function; what counts
is what it measured, never what a setting's name promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from .names import title
from .policies import chosen_policy
from .policy import Policy

OWN = "foreseen"
SPEEDS = ("1.25x", "1.5x", "1.75x", "2x", "2.5x", "3x", "4x")  # of this pack's own policy, slowest first
BEST_GUESS = "2x"
LARGEST_PSNR = 100.0  # of two equal pictures
LARGEST_SSIM = 1 - 1e-6
FAR = 6.0  # decibels above its bound from which on a picture tells nothing more of how bad others may be
USUAL_SPREAD = 3.0  # decibels between pictures of one model and setting, before anything was measured
USUAL_WEIGHT = 4  # measured pictures that weigh as much as that
NINE_OF_TEN = 1.28  # standard deviations below the mean that nine of ten stay above
NO_GAIN = 0.98  # of the time of a full run: who needs more gains nothing
ROUNDING = 0.98  # of a speed: half a step of thirty


@dataclass(frozen=True)
class Likeness:
    """How like a picture is to the one without a cache.

    Slots:
        psnr: decibels, up to ``LARGEST_PSNR``; 0 where the picture failed.
        ssim: structural similarity, 1 where there is no difference; 0 where the picture failed.
    """

    psnr: float
    ssim: float

    @classmethod
    def of(cls, psnr: float, ssim: float) -> Likeness:
        """What was measured, infinite for no difference, NaN for no picture."""
        failed = math.isnan(psnr) or math.isnan(ssim)
        return cls(0.0, 0.0) if failed else cls(min(psnr, LARGEST_PSNR), min(ssim, 1.0))


@dataclass(frozen=True)
class Quality:
    """What a picture must be like, at least; ``psnr`` in decibels."""

    psnr: float
    ssim: float

    def headroom(self, found: Likeness) -> float:
        """Decibels above the nearer of the two bounds; negative below it.  1 - SSIM is taken as an error's share."""
        return min(found.psnr - self.psnr, _decibels(1 - found.ssim) - _decibels(1 - self.ssim))


# In words: hard to tell apart when laid over each other; side by side; the same picture with other details.
QUALITIES: dict[str, Quality] = {
    "looks the same": Quality(psnr=35.0, ssim=0.97),
    "very close": Quality(psnr=30.0, ssim=0.93),
    "close": Quality(psnr=25.0, ssim=0.85),
}


@dataclass(frozen=True)
class Candidate:
    """A setting that can be tried: a policy by name, and its target where it has one."""

    policy: str
    target: str = ""

    @property
    def made(self) -> Policy:
        """The policy for DiCache Apply."""
        return chosen_policy(self.policy, target=self.target)

    @property
    def label(self) -> str:
        """For people: a speed for this pack's own, a name without what is said of it for another."""
        return self.target if self.policy == OWN else f"{title(self.policy).split(' (')[0]} {self.target}".strip()


EVERYTHING = Candidate(OWN, "1x")  # computes every step


@dataclass(frozen=True)
class Trial:
    """What a candidate gave, on all pictures or on as many as it took.

    Slots:
        likeness: per picture.
        time: of the model's calls, as a share of what they take when all are computed.
        computed, calls: of the model, over all pictures that were measured.
        seconds: of the sampler.
    """

    candidate: Candidate
    likeness: tuple[Likeness, ...]
    time: float
    computed: int
    calls: int
    seconds: float

    @property
    def speed(self) -> float:
        return 1 / self.time

    @property
    def worst(self) -> Likeness:
        """The lowest of each, over all pictures."""
        return Likeness(min(found.psnr for found in self.likeness), min(found.ssim for found in self.likeness))


@dataclass(frozen=True)
class Keep:
    """The wish to keep a quality, as fast as can be."""

    quality: Quality

    def granted(self, trial: Trial) -> bool:
        """Whether every measured picture keeps it, and nine of ten others can be expected to."""
        return self.expected(trial) >= 0 and not self.hopeless(trial)

    def hopeless(self, trial: Trial) -> bool:
        """Whether a picture has failed it already, so that more of them tell nothing new."""
        return any(self.quality.headroom(found) < 0 for found in trial.likeness)

    def expected(self, trial: Trial) -> float:
        """The headroom in decibels above which nine of ten pictures are expected."""
        return lower_bound([self.quality.headroom(found) for found in trial.likeness])

    def better(self, one: Trial, other: Trial) -> bool:
        return one.time < other.time


@dataclass(frozen=True)
class Reach:
    """The wish to reach a speed, as close to the picture without a cache as can be."""

    speed: float

    def granted(self, trial: Trial) -> bool:
        return not self.hopeless(trial)

    def hopeless(self, trial: Trial) -> bool:
        """Whether it is too slow."""
        return trial.speed < self.speed * ROUNDING

    def expected(self, trial: Trial) -> float:
        """The PSNR in decibels above which nine of ten pictures are expected."""
        return lower_bound([found.psnr for found in trial.likeness], far=LARGEST_PSNR)

    def better(self, one: Trial, other: Trial) -> bool:
        return self.expected(one) > self.expected(other)


Wish = Keep | Reach
Measure = Callable[[Candidate, Callable[[Trial], bool]], Trial]


@dataclass(frozen=True)
class Ladder:
    """This pack's own policy at several speeds, slowest first, and the place to begin at."""

    candidates: tuple[Candidate, ...]
    first: int

    @classmethod
    def of(cls, wish: Wish) -> Ladder:
        """For a quality the usual speeds, from the middle; for a speed that one among them."""
        asked = f"{wish.speed:g}x" if isinstance(wish, Reach) else BEST_GUESS
        speeds = sorted({*SPEEDS, asked}, key=lambda speed: float(speed[:-1]))
        return cls(tuple(Candidate(OWN, speed) for speed in speeds), speeds.index(asked))

    @property
    def most_trials(self) -> int:
        """How many of them a search tries at most: by halves."""

        def of(count: int) -> int:
            return 1 + of(count // 2) if count else 0

        return 1 + of(max(self.first, len(self.candidates) - 1 - self.first))


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Slots:
        chosen: what to use; ``EVERYTHING`` where nothing that skips is good enough, the fastest one that was tried
            where nothing is fast enough.
        next_faster: the next faster one that was tried, to see what more speed would cost.
        trials: all that were measured, the one of ``EVERYTHING`` first.
        granted: whether the wish came true.
    """

    chosen: Trial
    next_faster: Trial | None
    trials: tuple[Trial, ...]
    granted: bool

    @property
    def full_runs(self) -> float:
        """What it cost: computed calls of all trials, over those of the run without a cache."""
        return sum(trial.computed for trial in self.trials) / self.trials[0].computed


def search(wish: Wish, full: Trial, others: Iterable[Candidate], measure: Measure) -> Answer:
    """Try the ladder by halves, best first, and then each of the ``others`` that can still win.

    ``full`` is the run without a cache.  ``measure(candidate, enough)`` samples picture after picture and may stop as
    soon as ``enough`` of what it has so far holds: then more of them would change nothing.  Faster settings of the
    ladder are taken to be less close, which is what lets half of it be left out with each trial.
    """
    trials, best = [full], full
    for candidate, learn in _by_halves(Ladder.of(wish), towards_faster=isinstance(wish, Keep)):
        trials.append(measure(candidate, wish.hopeless))
        best = _better(wish, trials[-1], best, full)
        learn(wish.granted(trials[-1]))
    for candidate in others:
        trials.append(
            measure(candidate, lambda trial, best=best: wish.hopeless(trial) or _is_no_faster(wish, trial, best))
        )
        best = _better(wish, trials[-1], best, full)
    granted = best is not full or wish.granted(full)
    if not granted:
        best = min(trials, key=lambda trial: trial.time)
    faster = [trial for trial in trials if trial.time < best.time]
    return Answer(best, max(faster, key=lambda trial: trial.time, default=None), tuple(trials), granted)


def _by_halves(ladder: Ladder, towards_faster: bool) -> Iterator[tuple[Candidate, Callable[[bool], None]]]:
    """Candidates to try, each with a function that is told whether it was good.

    Where good ones are slow, a good one leaves those that are faster; where good ones are fast, those that are slower.
    """
    low, high, place = 0, len(ladder.candidates), ladder.first
    while low < high:
        answers: list[bool] = []
        yield ladder.candidates[place], answers.append
        if answers[0] == towards_faster:
            low = place + 1
        else:
            high = place
        place = (low + high) // 2


def _better(wish: Wish, trial: Trial, best: Trial, full: Trial) -> Trial:
    wins = wish.granted(trial) and trial.time < NO_GAIN and (best is full or wish.better(trial, best))
    return trial if wins else best


def _is_no_faster(wish: Wish, trial: Trial, best: Trial) -> bool:
    """Whether a trial cannot win, being no faster than what is known to keep the quality."""
    return isinstance(wish, Keep) and trial.time >= best.time


def lower_bound(values: Sequence[float], far: float = FAR) -> float:
    """What nine of ten further values are expected to lie above.

    The spread is that of the values and the usual one together: of two or three values alone it means nothing.  Values
    above ``far`` count as that: pictures without any difference say nothing of the spread of others.
    """
    near = [min(value, far) for value in values]
    freedom = len(near) - 1
    own = stdev(near) ** 2 if freedom else 0.0
    spread = math.sqrt((USUAL_WEIGHT * USUAL_SPREAD**2 + freedom * own) / (USUAL_WEIGHT + freedom))
    return fmean(near) - NINE_OF_TEN * spread * math.sqrt(1 + 1 / len(near))


def _decibels(share: float) -> float:
    return -10 * math.log10(max(share, 1 - LARGEST_SSIM))
