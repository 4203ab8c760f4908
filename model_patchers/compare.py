"""Sampling the same picture again and again with other settings, and timing it fairly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.samplers
import comfy.utils
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.sd import VAE
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

import nodes  # ComfyUI's own: this pack is only ever imported as a package

from ..dicache_core import CacheConfig, Outcome, RunStatistics
from .attach import attach, detach

BASELINE = "without DiCache"
KEY = "dicache_compare"
SAMPLERS, SCHEDULERS = comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS

Latent = Mapping[str, Any]  # the host's LATENT: "samples" and what belongs to them


@dataclass(frozen=True)
class Sampling:
    """Everything of a sampler node but the model: what every run of a comparison has in common."""

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    positive: Any
    negative: Any
    latent: Latent
    denoise: float = 1.0

    def run(self, model: ModelPatcher, **ksampler: Any) -> Tensor:
        """The latent that the host's own KSampler makes."""
        (latent,) = nodes.common_ksampler(
            model, self.seed, self.steps, self.cfg, self.sampler_name, self.scheduler, self.positive, self.negative,
            self.latent, denoise=self.denoise, **ksampler,
        )  # fmt: skip
        return latent["samples"]


class TimedSampler:
    """``SAMPLER_SAMPLE`` wrapper: times the sampler without the loading before it, and reports its steps elsewhere."""

    def __init__(self, report: Callable[[int], None]) -> None:
        self.report = report
        self.seconds = 0.0

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        model_wrap, sigmas, extra_args, _callback, *rest = args
        begin = time.perf_counter()
        samples = executor(model_wrap, sigmas, extra_args, self._step, *rest, **kwargs)
        samples.flatten()[:1].tolist()  # reading one number waits for the device, whichever it is
        self.seconds = time.perf_counter() - begin
        return samples

    def _step(self, step: int, _x0: Tensor, _x: Tensor, _total: int) -> None:
        self.report(step + 1)


def compare(model: ModelPatcher, sampling: Sampling, settings: Sequence[tuple[str, CacheConfig]]) -> list[Outcome]:
    """Sample without a cache and then with each of the labelled settings, all from the same noise.

    One step is sampled beforehand, so that the first run does not pay for loading weights and choosing kernels.
    """
    progress = comfy.utils.ProgressBar((1 + len(settings)) * sampling.steps)
    plain = detach(model)
    _timed(plain, sampling, lambda _step: None, start_step=0, last_step=1)
    outcomes = []
    for label, config in [(BASELINE, None), *settings]:
        before = len(outcomes) * sampling.steps
        runs: list[RunStatistics] = []
        candidate = plain if config is None else attach(plain, config, runs=runs)
        samples, seconds = _timed(
            candidate, sampling, lambda step, before=before: progress.update_absolute(before + step)
        )
        outcomes.append(Outcome(label, samples, seconds, runs[0] if runs else None))
    return outcomes


def as_latent(outcomes: Sequence[Outcome]) -> Latent:
    """All outcomes as one batch in the host's LATENT, in order."""
    return {"samples": torch.cat([outcome.samples for outcome in outcomes])}


def decode(vae: VAE, samples: Tensor) -> Tensor:
    """Pictures ``(N, H, W, 3)`` in [0, 1] of a latent; the frames of a video count as pictures."""
    throw_exception_if_processing_interrupted()
    pictures = vae.decode(samples)
    return pictures.reshape(-1, *pictures.shape[-3:])


def nothing(message: str) -> ExecutionBlocker:
    """In place of an output: nodes behind it do not run, and say why."""
    return ExecutionBlocker(message)


def _timed(
    model: ModelPatcher, sampling: Sampling, report: Callable[[int], None], **ksampler: Any
) -> tuple[Tensor, float]:
    timed, sampler = model.clone(), TimedSampler(report)
    timed.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, sampler)
    return sampling.run(timed, **ksampler), sampler.seconds
