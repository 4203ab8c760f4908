"""Measuring settings on a user's own model, sampler and prompts, for DiCache Tune."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..dicache_core import (
    COMPUTED,
    CacheConfig,
    Choice,
    Goal,
    RunContext,
    RunStatistics,
    SearchResult,
    StepCode,
    Trial,
    method_of,
    resolve,
)
from ..dicache_core.presets import PUBLISHED
from ..dicache_core.quality import Similarity
from ..dicache_core.tuning.plan_finder import NoSearch, PlanFinder
from ..dicache_core.tuning.search import EVERYTHING, OWN, PLANS, SEEDS, Candidate, Ladder, search
from .attach import attach, detach
from .compare import Latent, Sampling, _timed, picture_part
from .files import user_folder
from .fingerprint import fingerprint
from .reference_outputs import ReferenceOutputs
from .registry import architecture_of, family_of
from .server_events import ServerEvents
from .tuned_files import remember

MORE_PROMPTS = ("positive_2", "positive_3", "positive_4")
UNPUBLISHED = Candidate("dicache", "2x")  # the paper's rule where it has no number
KEY = "dicache_tune"
SHORTEST_INTERVAL = 0.5  # seconds between two lines of text on the node

log = logging.getLogger("dicache")

Pictures = Callable[[Tensor], Tensor]
SimilarityMetric = Callable[[Tensor, Tensor], tuple[float, float]]


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        result: what was measured and what was chosen.
        context: in which.
        steps, evaluations: of a run; some samplers evaluate the model more than once for a step.
        file: the name of the file that remembers it; of two experts, of the first one's. Empty where it is not saved.
        unsaved: why it is not saved, in words.
        pictures: per trial to be shown (full, chosen, next faster), per prompt ``(N, H, W, C)``: from its first seed.
        no_search: why no plan was searched; ``None`` where one was.
        search_seconds: that the search of plans took.
    """

    result: SearchResult
    context: RunContext
    steps: int
    evaluations: int
    file: str
    unsaved: str
    pictures: list[list[Tensor]]
    no_search: NoSearch | None
    search_seconds: float


def as_samplings(latent: Latent, positive: Any = None, seed: int = 0, **sampler: Any) -> list[Sampling]:
    """``SEEDS`` of each prompt, ``positive`` and whichever of ``positive_2`` to ``positive_4`` are there, each with a
    seed of its own: all prompts once before any of them comes again."""
    more = [sampler.pop(name, None) for name in MORE_PROMPTS]
    prompts = [positive, *[prompt for prompt in more if prompt is not None]]
    if sampler.get("guider") is not None and len(prompts) > 1:
        raise ValueError("a guider has its own prompt: disconnect positive_2 to positive_4, or the guider")
    return [
        Sampling(latent=latent, positive=prompt, seed=(seed + number) % 2**64, **sampler)
        for number, prompt in enumerate(prompts * SEEDS)
    ]


def tune(
    models: Sequence[ModelPatcher],
    samplings: Sequence[Sampling],
    goal: Goal,
    goal_text: str,
    see: Pictures,
    similarity: SimilarityMetric,
    node_id: str | None = None,
) -> Tuned:
    """Sample each prompt in full and then with settings that may be better, and remember the best one.

    ``samplings`` are those of ``as_samplings``.  ``models`` is one, or two experts that share the schedule: each
    remembers the setting that both were given.  ``see`` makes images ``(N, H, W, C)`` of a latent, ``similarity``
    says PSNR and SSIM of two of them.
    """
    for model in models:
        fingerprint(model)  # one whose weights cannot be read is told now, not at the end
    others = _others(models[0])
    progress = Progress(node_id, samplings, 1 + Ladder.of(goal).most_trials + PLANS + len(others))
    bench = Bench([detach(model) for model in models], samplings, see, similarity, progress)
    result = search(goal, bench.full(), others, bench.measure, bench.finder.find)
    progress.end()
    chosen, worst = result.chosen, result.chosen.worst
    choice = Choice(
        bench.context,
        goal_text,
        chosen.candidate.policy,
        chosen.candidate.target,
        chosen.speed,
        worst.psnr,
        worst.ssim,
        chosen.candidate.plan,
    )
    file, unsaved = _remembered(models, choice, node_id)
    pictures = [bench.pictures(trial) for trial in result.shown]
    return Tuned(
        result, bench.context, samplings[0].total, bench.evaluations, file, unsaved, pictures,
        bench.finder.no_search, bench.finder.seconds,
    )  # fmt: skip


def _remembered(models: Sequence[ModelPatcher], choice: Choice, node_id: str | None) -> tuple[str, str]:
    """Keep a choice for all models: the first one's file, and why it is not saved.  What was measured outlives that."""
    try:
        first, *_others = [remember(model, choice, node_id) for model in models]
        return first.name, ""
    except OSError as error:
        unsaved = f"{user_folder()} cannot be written: {error.strerror}"
        log.warning("DiCache Tune: the setting is not saved. %s.", unsaved)
        return "", unsaved


def _others(model: ModelPatcher) -> list[Candidate]:
    """What else can win: the method that was published for the model, where its blocks are known."""
    if family_of(model.model.diffusion_model) is None:
        return []
    found = PUBLISHED.get(architecture_of(model))
    return [UNPUBLISHED if found is None else Candidate(method_of(found))]


@dataclass
class Bench:
    """Samples all prompts, from each of their seeds, with one setting after another.

    Attributes:
        models: without a cache.
        context: of the runs, once there was one.
        evaluations: of the model in one of them, where everything is computed.
        finder: of plans, by what these runs show.
    """

    models: Sequence[ModelPatcher]
    samplings: Sequence[Sampling]
    see: Pictures
    similarity: SimilarityMetric
    progress: Progress
    context: RunContext = field(init=False)
    evaluations: int = field(init=False)
    finder: PlanFinder = field(default_factory=PlanFinder)
    _reference: list[Tensor] = field(default_factory=list)
    _latents: dict[Candidate, list[Tensor]] = field(default_factory=dict)

    def full(self) -> Trial:
        """Everything computed.  One step comes before, which pays for loading weights and choosing kernels."""
        if len(self.models) > 1:
            self.finder.no_search = NoSearch.TWO_MODELS
        _timed(self.models, self.samplings[0], lambda _step: None, last_step=1)
        return self._trial(EVERYTHING, resolve(self.architecture, threshold=0.0), lambda _trial: False)

    def measure(self, candidate: Candidate, enough: Callable[[Trial], bool]) -> Trial:
        return self._trial(candidate, resolve(self.architecture, policy=candidate.made), enough)

    @property
    def architecture(self) -> str:
        return architecture_of(self.models[0])

    def pictures(self, trial: Trial) -> list[Tensor]:
        """Of each prompt's first seed, of as many prompts as it was sampled with."""
        prompts = len(self.samplings) // SEEDS
        return [self.see(samples) for samples in self._latents[trial.candidate][:prompts]]

    def _trial(self, candidate: Candidate, config: CacheConfig, enough: Callable[[Trial], bool]) -> Trial:
        runs: list[RunStatistics] = []
        models = [attach(model, config, runs=runs) for model in self.models]
        latents = self._latents.setdefault(candidate, [])
        outputs = ReferenceOutputs(self.finder)
        if candidate == EVERYTHING:
            for model in models:
                model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, outputs)
        similarities: list[Similarity] = []
        total = 0.0
        for number, sampling in enumerate(self.samplings):
            samples, seconds = _timed(models, sampling, self.progress.steps(candidate, number))
            latents.append(picture_part(samples).cpu())
            total += seconds
            if candidate == EVERYTHING:
                outputs.end_run()
            elif candidate.policy == OWN:
                self._learn(candidate, number, runs[-1])
            similarities += self._similarities(number, self.see(samples).cpu(), len(latents[-1]))
            computed, calls = sum(run.calls_computed for run in runs), sum(len(run.passes) for run in runs)
            done, in_all = number + 1, len(self.samplings)
            trial = Trial(
                candidate, tuple(similarities), time_share(runs), computed, calls, total, done, in_all,
                computed_calls(runs[0]),
            )  # fmt: skip
            if enough(trial):
                break
        if candidate == EVERYTHING:
            self.evaluations = round(sum(len(run.cells) for run in runs) / trial.runs)
        if runs[0].run_context is not None:  # where everything is computed the sampler is not asked
            last = runs[len(runs) // trial.runs - 1].run_context  # of one sampling, by two experts
            self.context = replace(runs[0].run_context, end=last.end)
        self.progress.trial_done()
        return trial

    def _learn(self, candidate: Candidate, number: int, run: RunStatistics) -> None:
        """Hand the finder the run of a sampling: by how much each of its latents differs from the reference's."""
        samples, reference = self._latents[candidate][number], self._latents[EVERYTHING][number]
        errors = (samples.float() - reference.float()).square().flatten(1).mean(1)
        self.finder.add_run(candidate.target, run, number * len(samples), errors.tolist())

    def _similarities(self, number: int, pictures: Tensor, samples: int) -> list[Similarity]:
        """Of every sample of a prompt, all frames of a video together."""
        if number == len(self._reference):  # the first trial computes everything
            if not pictures.isfinite().all():
                raise ValueError("the result without DiCache has NaN, so nothing can be compared with it")
            self._reference.append(pictures)
        pairs = zip(pictures.chunk(samples), self._reference[number].chunk(samples), strict=True)
        return [Similarity.of(*self._similarity(*pair)) for pair in pairs]

    def _similarity(self, pictures: Tensor, reference: Tensor) -> tuple[float, float]:
        return (torch.inf, 1.0) if torch.equal(pictures, reference) else self.similarity(pictures, reference)


def computed_calls(run: RunStatistics) -> tuple[int, ...]:
    """The model evaluations of a run that were computed for its first sample, by number."""
    return tuple(sorted({passed.evaluation for passed in run.passes if not passed.decisions[0].reuse}))


def time_share(runs: Sequence[RunStatistics]) -> float:
    """Time of all calls over that of as many computed ones, at the medians of both: a hiccup of the machine is none."""
    calls, computed = sum(len(run.passes) for run in runs), sum(run.calls_computed for run in runs)
    computed_seconds = [s for run in runs for s in run.seconds(COMPUTED)]
    skipped_seconds = [s for run in runs for s in run.seconds({StepCode.REUSED})]
    known = computed_seconds and skipped_seconds and median(computed_seconds) > 0
    skipped = median(skipped_seconds) / median(computed_seconds) if known else 0.0
    return (computed + skipped * (calls - computed)) / calls


class Progress:
    """The bar on the node, and a line that says what is tried and how long it may take."""

    def __init__(self, node_id: str | None, samplings: Sequence[Sampling], most_trials: int) -> None:
        self.node_id = node_id
        self.runs, self.per_run = len(samplings), samplings[0].total
        self.total = most_trials * self.runs * self.per_run
        self.bar = comfy.utils.ProgressBar(self.total)
        self.view = ServerEvents()
        self.trials = 0
        self._begun = time.monotonic()
        self._told = 0.0

    def steps(self, candidate: Candidate, run: int) -> Callable[[int], None]:
        """What to call after each step of a run."""
        before = (self.trials * self.runs + run) * self.per_run

        def report(step: int) -> None:
            self.bar.update_absolute(before + step)
            self._tell(candidate, run, before + step)

        return report

    def trial_done(self) -> None:
        self.trials += 1
        self.bar.update_absolute(self.trials * self.runs * self.per_run)

    def end(self) -> None:
        """Whatever was not needed is done, too."""
        self.bar.update_absolute(self.total)

    def _tell(self, candidate: Candidate, run: int, done: int) -> None:
        now = time.monotonic()
        if self.node_id is None or now - self._told < SHORTEST_INTERVAL:
            return
        self._told = now
        left = (now - self._begun) / done * (self.total - done)
        what = "reference" if candidate == EVERYTHING else candidate.label
        self.view.tell(self.node_id, f"{what} run {run + 1} of {self.runs}, at most {in_minutes(left)} left")


def in_minutes(seconds: float) -> str:
    """``75`` -> ``"1:15 min"``."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"
