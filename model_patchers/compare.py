"""Sampling the same image again and again with other settings, and timing it fairly."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import comfy_extras.nodes_custom_sampler as custom
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from comfy.samplers import CFGGuider
from comfy.sd import VAE
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

import nodes  # ComfyUI's own: this pack is only ever imported as a package

from ..dicache_core import CacheConfig, Outcome, RunStatistics, TunedSettings
from .attach import attach, detach

BASELINE = "without DiCache"
KEY = "dicache_compare"
# In the host's order, in which it calls samplers of other packs too, whatever those call them.
SAMPLER_ARGUMENTS = list(inspect.signature(comfy.samplers.KSAMPLER.sample).parameters)[1:]
SAMPLERS, SCHEDULERS = comfy.samplers.KSampler.SAMPLERS, comfy.samplers.KSampler.SCHEDULERS

Latent = Mapping[str, Any]  # the host's LATENT: "samples" and what belongs to them


@dataclass(frozen=True)
class Sampling:
    """Everything of a sampler node but the model: what every run of a comparison has in common.

    ``guider`` takes the place of the conditioning and cfg, ``sampler`` and ``sigmas`` (``(steps + 1,)``) that of what
    the widgets name; each may be given alone. Where a second model takes part, it takes over at step ``switch_at``.
    """

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    positive: Any
    negative: Any
    latent: Latent
    denoise: float = 1.0
    guider: CFGGuider | None = None
    sampler: Any = None
    sigmas: Tensor | None = None
    switch_at: int | None = None  # half of the steps

    def __post_init__(self) -> None:
        if self.guider is None and (self.positive is None or self.negative is None):
            raise ValueError("connect positive and negative, or a guider")
        if self.total < 1 or (self.sigmas is None and self.denoise <= 0):
            raise ValueError(
                "no steps to sample: denoise is 0, or sigmas is empty. Set denoise above 0, or connect at least two "
                "sigmas"
            )

    @property
    def total(self) -> int:
        """Steps of a run."""
        return self.steps if self.sigmas is None else len(self.sigmas) - 1

    def run(self, *models: ModelPatcher, last_step: int | None = None) -> Tensor:
        """The latent that the host's own sampler nodes make; of two models each samples its part of the schedule."""
        switch = self.total // 2 if self.switch_at is None else self.switch_at
        end = self.total if last_step is None else last_step
        marks = [0, *([min(switch, end)] if len(models) > 1 else []), end]
        latent = self.latent
        for model, (first, last) in zip(models, pairwise(marks), strict=True):
            if first < last:
                latent = self._part(model, latent, first, last)
        return latent["samples"]

    def _part(self, model: ModelPatcher, latent: Latent, first: int, last: int) -> Latent:
        """Steps ``first`` to ``last`` of the schedule; the noise comes with the first."""
        if self.guider is self.sampler is self.sigmas is None:
            (latent,) = nodes.common_ksampler(
                model, self.seed, self.steps, self.cfg, self.sampler_name, self.scheduler, self.positive, self.negative,
                latent, denoise=self.denoise, disable_noise=first > 0, start_step=first, last_step=last,
            )  # fmt: skip
            return latent
        noise = custom.Noise_EmptyNoise() if first > 0 else custom.Noise_RandomNoise(self.seed)
        sampler = self.sampler or comfy.samplers.sampler_object(self.sampler_name)
        sigmas = self.sigmas
        if sigmas is None:
            sigmas = custom.BasicScheduler.execute(model, self.scheduler, self.steps, self.denoise).result[0]
        part = sigmas[first : last + 1]
        return custom.SamplerCustomAdvanced.execute(noise, self._guider(model), sampler, part, latent).result[0]

    def _guider(self, model: ModelPatcher) -> CFGGuider:
        """The given guider around another model, in a copy; else the one that the other inputs describe."""
        if self.guider is None:
            return custom.CFGGuider.execute(model, self.positive, self.negative, self.cfg).result[0]
        guider = copy.copy(self.guider)
        guider.model_patcher, guider.model_options = model, model.model_options
        return guider


class TimedSampler:
    """``SAMPLER_SAMPLE`` wrapper: times the sampler without the loading before it, and reports its steps elsewhere.

    Where a run samples in several parts, their seconds and steps add up.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self.report = report
        self.seconds = 0.0
        self.steps = 0

    def __call__(self, executor: WrapperExecutor, *args: Any, **kwargs: Any) -> Tensor:
        given = dict(zip(SAMPLER_ARGUMENTS, args, strict=False)) | kwargs
        sigmas, given["callback"] = given["sigmas"], self._step
        named = [given.pop(name) for name in SAMPLER_ARGUMENTS[: len(args)]]
        begin = time.perf_counter()
        samples = executor(*named, *args[len(SAMPLER_ARGUMENTS) :], **given)
        samples.flatten()[:1].tolist()  # reading one number waits for the device, whichever it is
        self.seconds += time.perf_counter() - begin
        self.steps += len(sigmas) - 1
        return samples

    def _step(self, step: int, _x0: Tensor, _x: Tensor, _total: int) -> None:
        self.report(self.steps + step + 1)


def compare(
    models: Sequence[ModelPatcher], sampling: Sampling, settings: Sequence[tuple[str, CacheConfig | TunedSettings]]
) -> list[Outcome]:
    """Sample without a cache and then with each of the labelled settings, all from the same noise.

    ``models`` is one, or two experts that share the schedule; each gets a cache of its own with the same settings.
    One step is sampled beforehand, so that the first run does not pay for loading weights and choosing kernels.
    """
    progress = comfy.utils.ProgressBar((1 + len(settings)) * sampling.total)
    plain = [detach(model) for model in models]
    _timed(plain, sampling, lambda _step: None, last_step=1)
    outcomes = []
    for label, config in [(BASELINE, None), *settings]:
        before = len(outcomes) * sampling.total
        runs: list[RunStatistics] = []
        candidates = plain if config is None else [attach(model, config, runs=runs) for model in plain]
        samples, seconds = _timed(
            candidates, sampling, lambda step, before=before: progress.update_absolute(before + step)
        )
        outcomes.append(Outcome(label, samples, seconds, tuple(runs)))
    return outcomes


def as_latent(outcomes: Sequence[Outcome]) -> Latent:
    """All outcomes as one batch in the host's LATENT, in order."""
    return {"samples": torch.cat([picture_part(outcome.samples) for outcome in outcomes])}


def picture_part(samples: Tensor) -> Tensor:
    """What is seen of a latent: of one that holds a video and its sound, the video."""
    return samples.unbind()[0] if samples.is_nested else samples


def is_video(latent: Latent) -> bool:
    """Whether a latent ``(B, C, [T,] H, W)`` has more than one frame."""
    samples = picture_part(latent["samples"])
    return samples.ndim == 5 and samples.shape[2] > 1


def check_pictures(model: ModelPatcher, latent: Latent, vae: VAE) -> None:
    """Raise a ``ValueError`` where a VAE makes no images of a latent: before a long run, by a small part of it."""
    samples = picture_part(comfy.sample.fix_empty_latent_channels(model, latent["samples"]))
    if samples.ndim >= 4 and decode(vae, samples[:1, :, :1] if samples.ndim == 5 else samples[:1]).shape[-1] in (3, 4):
        return
    raise ValueError(
        f"this VAE cannot decode a latent of shape {tuple(samples.shape)}, which may be sound or a 3D shape: "
        "disconnect the VAE, and the latents are compared"
    )


def decode(vae: VAE, samples: Tensor) -> Tensor:
    """Images ``(N, H, W, 3)`` in [0, 1] of a latent; the frames of a video count as images."""
    throw_exception_if_processing_interrupted()
    pictures = vae.decode(picture_part(samples))
    return pictures.reshape(-1, *pictures.shape[-3:])


def nothing(message: str) -> ExecutionBlocker:
    """In place of an output: nodes after it do not run, and say why."""
    return ExecutionBlocker(message)


def _timed(
    models: Sequence[ModelPatcher], sampling: Sampling, report: Callable[[int], None], last_step: int | None = None
) -> tuple[Tensor, float]:
    sampler, timed = TimedSampler(report), [model.clone() for model in models]
    for model in timed:
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, sampler)
    return sampling.run(*timed, last_step=last_step), sampler.seconds
