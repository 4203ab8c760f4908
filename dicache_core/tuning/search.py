"""Which setting is the fastest that keeps a quality, or the closest that reaches a speed: the search, without a model.

What is asked for, what was measured, and the order in which to try.  Whoever measures hands in a function; what counts
is what it measured, never what a setting's name promises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from ..call_plan import CallPlan
from ..policies import NAMED, chosen_policy
from ..policy import Policy
from ..quality import LARGEST_PSNR, QualityBound, Similarity

OWN = "forecast"
SPEEDS = ("1.25x", "1.5x", "1.75x", "2x", "2.5x", "3x", "4x")  # of this pack's own policy, slowest first
BEST_GUESS = "2x"
NEAR = 6.0  # decibels above its bound from which on an image tells nothing more of those that are near the bound
FAR = 30.0  # decibels above its bound from which on an image is as good as one without any difference
USUAL_SPREAD = 4.0  # decibels between images of one model and setting, before many were measured
USUAL_WEIGHT = 4  # measured images that weigh as much as that
SEEDS = 2  # noises that each prompt is sampled from: another one tells as much as another prompt
MOST_FULL_RUNS = 6  # of all prompts, once each: what a search may cost
NINE_OF_TEN = 1.28  # standard deviations below the mean that nine of ten stay above
SURE = 1.64  # standard errors of a mean: it is above 0 in nineteen of twenty cases
PLANS = 3  # that a search found and that are tried
NO_GAIN = 0.98  # of the time of a full run: who needs more gains nothing
ROUNDING = 0.98  # of a speed: half a step of thirty


@dataclass(frozen=True)
class Candidate:
    """A setting that can be tried: a policy by name, its target where it has one, and the plan that it follows."""

    policy: str
    target: str = ""
    plan: CallPlan | None = None
    plan_name: str = ""

    @property
    def made(self) -> Policy:
        """The policy for DiCache Apply."""
        return chosen_policy(self.policy, target=self.target, plan=self.plan)

    @property
    def label(self) -> str:
        """For people: a speed for this pack's own, a name without what is said of it for another."""
        if self.policy != OWN:
            return f"{NAMED[self.policy].title} {self.target}".strip()
        return f"{self.target}, {self.plan_name}" if self.plan else self.target


EVERYTHING = Candidate(OWN, "1x")  # computes every step


@dataclass(frozen=True)
class Trial:
    """What a candidate gave, on all images or on as many as it took.

    Attributes:
        similarities: per image.
        time: of the model's calls, as a share of what they take when all are computed.
        computed, calls: of the model, over all images that were measured.
        seconds: of the sampler.
        runs, runs_in_all: of the sampler, each with its own prompt and noise; fewer than all where it was given up.
        computed_calls: of the first image, by number.
    """

    candidate: Candidate
    similarities: tuple[Similarity, ...]
    time: float
    computed: int
    calls: int
    seconds: float
    runs: int
    runs_in_all: int
    computed_calls: tuple[int, ...] = ()

    @property
    def speed(self) -> float:
        return 1 / self.time

    @property
    def whole(self) -> bool:
        return self.runs == self.runs_in_all

    @property
    def unseen(self) -> int:
        """Pictures that it was given up before."""
        return len(self.similarities) * (self.runs_in_all - self.runs) // self.runs

    @property
    def pooled_error(self) -> float:
        """The squared error in the mean of the images, by which the far ones decide; 1 is that of 0 dB."""
        return fmean(10 ** (-found.psnr / 10) for found in self.similarities)

    @property
    def worst(self) -> Similarity:
        """The lowest of each, over all images."""
        return Similarity(
            min(found.psnr for found in self.similarities), min(found.ssim for found in self.similarities)
        )


@dataclass(frozen=True)
class KeepQuality:
    """The wish to keep a quality, as fast as can be."""

    quality: QualityBound

    def granted(self, trial: Trial) -> bool:
        """Whether all were sampled, and nine of ten other images can be expected to keep it."""
        return trial.whole and self.expected(trial) >= 0

    def hopeless(self, trial: Trial) -> bool:
        """Whether it would not be granted either if all images still to come showed no difference."""
        return careful_bound([*self._headrooms(trial), *[FAR] * trial.unseen]) < 0

    def expected(self, trial: Trial) -> float:
        """The headroom in decibels above which nine of ten images are expected."""
        return careful_bound(self._headrooms(trial))

    def _headrooms(self, trial: Trial) -> list[float]:
        return [self.quality.headroom(found) for found in trial.similarities]

    def better(self, one: Trial, other: Trial) -> bool:
        return one.time < other.time


@dataclass(frozen=True)
class ReachSpeed:
    """The wish to reach a speed, as close to the image without a cache as can be."""

    speed: float

    def granted(self, trial: Trial) -> bool:
        """Whether all were sampled, and it is fast enough."""
        return trial.whole and not self.hopeless(trial)

    def hopeless(self, trial: Trial) -> bool:
        """Whether it is too slow."""
        return trial.speed < self.speed * ROUNDING

    def expected(self, trial: Trial) -> float:
        """The PSNR in decibels above which nine of ten images are expected."""
        return lower_bound([found.psnr for found in trial.similarities], far=LARGEST_PSNR)

    def better(self, one: Trial, other: Trial) -> bool:
        return self.expected(one) > self.expected(other)


Goal = KeepQuality | ReachSpeed
Measure = Callable[[Candidate, Callable[[Trial], bool]], Trial]
FindPlans = Callable[[str], Sequence[CallPlan]]


@dataclass(frozen=True)
class Ladder:
    """This pack's own policy at several speeds, slowest first, and the place to begin at."""

    candidates: tuple[Candidate, ...]
    first: int

    @classmethod
    def of(cls, goal: Goal) -> Ladder:
        """For a quality the usual speeds, from the middle; for a speed that one among them."""
        asked = f"{goal.speed:g}x" if isinstance(goal, ReachSpeed) else BEST_GUESS
        speeds = sorted({*SPEEDS, asked}, key=lambda speed: float(speed[:-1]))
        return cls(tuple(Candidate(OWN, speed) for speed in speeds), speeds.index(asked))

    @property
    def most_trials(self) -> int:
        """How many of them a search tries at most: by halves."""

        def of(count: int) -> int:
            return 1 + of(count // 2) if count else 0

        return 1 + of(max(self.first, len(self.candidates) - 1 - self.first))


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
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
        """What it cost: computed calls of all trials, over those of sampling each prompt once without a cache."""
        return SEEDS * sum(trial.computed for trial in self.trials) / self.trials[0].computed

    @property
    def shown(self) -> list[Trial]:
        """What is laid side by side, each once: the run without a cache, what was chosen, and the next faster one."""
        side_by_side = (self.trials[0], self.chosen, self.next_faster)
        return list(dict.fromkeys(trial for trial in side_by_side if trial is not None))


def search(
    goal: Goal, full: Trial, others: Iterable[Candidate], measure: Measure, find_plans: FindPlans = lambda _target: ()
) -> SearchResult:
    """Try the ladder by halves, best first, then plans, and then each of the ``others`` that can still win.

    ``full`` is the run without a cache.  ``measure(candidate, enough)`` samples image after image and may stop as
    soon as ``enough`` of what it has so far holds: then more of them would change nothing, or cost more than
    ``MOST_FULL_RUNS``.  Faster settings of the ladder are taken to be less close, which is what lets half of it be left
    out with each trial.  ``find_plans`` says which plans for a speed that was tried may be closer, the best first.
    """
    trials, best = [full], full
    run = full.computed / full.runs  # what one more run of the sampler costs at most

    def left() -> float:
        return MOST_FULL_RUNS / SEEDS * full.computed - sum(trial.computed for trial in trials)

    def enough(trial: Trial) -> bool:
        return goal.hopeless(trial) or trial.computed + run > left()

    for candidate, learn in _by_halves(Ladder.of(goal), towards_faster=isinstance(goal, KeepQuality)):
        if left() < run:
            break
        trials.append(measure(candidate, enough))
        best = _better(goal, trials[-1], best, full)
        learn(goal.granted(trials[-1]))
    law = best
    for candidate in _with_plans(goal, trials, best, find_plans):
        if left() < run:
            break
        trials.append(measure(candidate, enough))
        if candidate.target != law.candidate.target:
            best = _better(goal, trials[-1], best, full)
            if best is not law:
                break
        elif _replaces(trials[-1], law, goal) and (best is law or trials[-1].pooled_error < best.pooled_error):
            best = trials[-1]
    for candidate in others:
        if left() < run:
            break
        trials.append(measure(candidate, lambda trial, best=best: enough(trial) or _is_no_faster(goal, trial, best)))
        best = _better(goal, trials[-1], best, full)
    granted = best is not full or goal.granted(full)
    if not granted:
        best = min(trials, key=lambda trial: trial.time)
    faster = [trial for trial in trials if trial.time < best.time]
    return SearchResult(best, max(faster, key=lambda trial: trial.time, default=None), tuple(trials), granted)


def _by_halves(ladder: Ladder, towards_faster: bool) -> Iterator[tuple[Candidate, Callable[[bool], None]]]:
    """Candidates to try, each with a function that is told whether it was good.

    Where good ones are slow, a good one leaves those that are faster; where good ones are fast, those that are slower.
    """
    low, high, middle = 0, len(ladder.candidates), ladder.first
    while low < high:
        answers: list[bool] = []
        yield ladder.candidates[middle], answers.append
        if answers[0] == towards_faster:
            low = middle + 1
        else:
            high = middle
        middle = (low + high) // 2


def _with_plans(goal: Goal, trials: Sequence[Trial], best: Trial, find_plans: FindPlans) -> Iterator[Candidate]:
    """What to try with plans, best first.

    For a quality a plan at the next faster speed, which may keep it where the method's own did not, and one at the
    speed that was found; for a speed, and where nothing faster was tried, all plans.
    """
    names = ("plan", "second plan", "third plan")
    faster = max((trial for trial in trials if trial.time < best.time), key=lambda trial: trial.time, default=None)
    keeps = isinstance(goal, KeepQuality) and faster is not None
    tried = [(faster, 1), (best, 1)] if keeps else [(best, PLANS)]
    for trial, most in tried:
        if trial.candidate != EVERYTHING:
            for name, plan in zip(names, find_plans(trial.candidate.target)[:most], strict=False):
                yield Candidate(OWN, trial.candidate.target, plan, name)


def _replaces(trial: Trial, law: Trial, goal: Goal) -> bool:
    """Whether a plan takes the place of the method's own at the same speed: closer, and with no call more."""
    return goal.granted(trial) and trial.computed <= law.computed and surely_closer(trial, law)


def _better(goal: Goal, trial: Trial, best: Trial, full: Trial) -> Trial:
    wins = goal.granted(trial) and trial.time < NO_GAIN and (best is full or goal.better(trial, best))
    return trial if wins else best


def _is_no_faster(goal: Goal, trial: Trial, best: Trial) -> bool:
    """Whether a trial cannot win, being no faster than what is known to keep the quality."""
    return isinstance(goal, KeepQuality) and trial.time >= best.time


def careful_bound(headrooms: Sequence[float]) -> float:
    """The lower of two bounds: one far image does not make up for those that are near, nor does it hide that images
    of this model spread so widely that others may fail."""
    return min(lower_bound(headrooms, NEAR), lower_bound(headrooms, FAR))


def lower_bound(values: Sequence[float], far: float) -> float:
    """What nine of ten further values are expected to lie above.

    The spread is that of the values and the usual one together: of two or three values alone it means nothing.  Values
    above ``far`` count as that: images without any difference say nothing of the spread of others.
    """
    near = [min(value, far) for value in values]
    return fmean(near) - NINE_OF_TEN * _spread(near) * math.sqrt(1 + 1 / len(near))


def surely_closer(one: Trial, other: Trial) -> bool:
    """Whether ``one`` can be expected to be closer on other images, too.

    The pooled error has to be smaller, and what is gained in the mean of the images more than what a choice among so
    few of them gains by chance: small models jump by several decibels where a single call is moved.
    """
    gains = [mine.psnr - theirs.psnr for mine, theirs in zip(one.similarities, other.similarities, strict=False)]
    sure = fmean(gains) > SURE * _spread(gains) / math.sqrt(len(gains))
    return one.whole and other.whole and one.pooled_error < other.pooled_error and sure


def _spread(values: Sequence[float]) -> float:
    """Of these and the usual one together, in decibels."""
    freedom = len(values) - 1
    own = stdev(values) ** 2 if freedom else 0.0
    return math.sqrt((USUAL_WEIGHT * USUAL_SPREAD**2 + freedom * own) / (USUAL_WEIGHT + freedom))
