"""One model of the testbed under one setting, for some images: sampled in the host, held against its full run."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any

import bench  # noqa: F401, lets the testbed be imported
import torch
from testbed import conditioning as testbed
from testbed import scenes
from testbed.captions import CAPTIONS

from dicache_core.presets import DEFAULT_PRESET
from dicache_core.quality import LARGEST_PSNR

TITLES = {  # of the models on pages
    "flux": "Flux", "hunyuan_video": "HunyuanVideo", "wan": "Wan", "qwen_image": "Qwen-Image", "z_image": "Z-Image",
    "unet": "U-Net", "flux_reflow": "reflowed Flux", "flux_lcm": "consistent Flux",
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One way to sample.

    Attributes:
        name: as it is typed after ``--setting``.
        group: settings that are hard for the same reason.
        steps, sampler, scheduler, denoise: of the host's KSampler. Below a denoise of 1 a drawn scene is the start.
        guided: with ``Model.guided`` as cfg in place of the model's own.
        shifted: with ``Model.shift`` in place of the model's own.
        scale: edges of the image against ``Model.size``.
    """

    name: str
    group: str
    steps: int
    sampler: str = "euler"
    scheduler: str = "simple"
    denoise: float = 1.0
    guided: bool = False
    shifted: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Model:
    """One checkpoint of the testbed at some size.

    Attributes:
        name: of the testbed.
        size, frames: cells of the latent; 0: the checkpoint's own.
        guided: cfg of a setting that asks for another than its own.
        shift: of the schedule, for a setting that asks for another than its own; 0 where there is none.
    """

    name: str
    size: int = 0
    frames: int = 0
    guided: float = 0.0
    shift: float = 0.0


@dataclass
class Cell:
    """Runs of one model under one setting in one batch.

    Attributes:
        images: a number each: of its caption, in turn, and of its noise.
        seed: of all noises.
        dtype: that the model computes in.
    """

    comfy: Any
    model: Model
    setting: Setting
    images: Sequence[int]
    seed: int = 0
    dtype: torch.dtype = torch.float32

    @property
    def core(self) -> Any:
        return self.comfy.pack.dicache_core

    @property
    def network(self) -> Any:
        return self.patcher().model.diffusion_model

    @property
    def family(self) -> Any:
        """The row of the pack's table that the model belongs to."""
        return self.comfy.pack.model_patchers.family_of(self.network)

    @property
    def architecture(self) -> str:
        """What the pack takes the model for."""
        registry = sys.modules[f"{self.comfy.pack.__name__}.model_patchers.registry"]
        return registry.architecture_of(self.patcher())

    @property
    def cfg(self) -> float:
        return self.model.guided if self.setting.guided else testbed.SHAPES[self.model.name].cfg

    @property
    def streams(self) -> int:
        """How often a call runs the model: with guidance, also for the empty caption."""
        return 1 if self.cfg == 1 else 2

    def settings_of(self, policy: Any, preset: str = DEFAULT_PRESET) -> Any:
        """What a policy means beside a preset, in runs of few steps too."""
        return replace(self.core.resolve(self.architecture, preset, policy=policy), few_steps=0)

    def patcher(self) -> Any:
        """The model, with the setting's own shift where it has one."""
        model = self.comfy.load_model(self.model.name)
        if self.dtype is not torch.float32:
            model.set_model_compute_dtype(self.dtype)
        if not self.setting.shifted:
            return model
        sampling, shift = model.get_model_object("model_sampling"), self.model.shift
        nodes = self.comfy.module("comfy_extras.nodes_model_advanced")
        if isinstance(sampling, self.comfy.module("comfy.model_sampling").ModelSamplingFlux):
            return nodes.ModelSamplingFlux().patch(model, max_shift=shift, base_shift=shift, width=1024, height=1024)[0]
        return nodes.ModelSamplingSD3().patch(model, shift, sampling.multiplier)[0]

    def start(self) -> torch.Tensor:
        """The latent to start from, ``(N, 16, [T,] h, w)``: empty, or of drawn scenes for image to image."""
        name, size = self.model.name, round(self.model.size * self.setting.scale)
        empty = testbed.empty_latent(name, len(self.images), size, self.model.frames)
        if self.setting.denoise == 1:
            return empty
        g = torch.Generator().manual_seed(11)
        video, _ = scenes.random_scenes(max(self.images) + 1, 8 * size, self.model.frames or 1, "cpu", g)
        latent = scenes.encode(video, testbed.channel_std(testbed.weights(name)))[list(self.images)]
        return self.comfy.load_model(name).get_model_object("latent_format").process_out(latent.reshape(empty.shape))

    def sample(self, model: Any, steps: int = 0) -> tuple[torch.Tensor, float]:
        """Latents of all images in one batch, each from its own noise, and calls of the model per image."""
        compare = sys.modules[f"{self.comfy.pack.__name__}.model_patchers.compare"]
        s, rows, name = self.setting, [], self.model.name
        captions = [CAPTIONS[i % len(CAPTIONS)] for i in self.images]
        count = model.model.diffusion_model.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
        try:
            samples = compare.Sampling(
                seed=self.seed, steps=steps or s.steps, cfg=self.cfg, sampler_name=s.sampler, scheduler=s.scheduler,
                positive=self.comfy._conditioning(name, captions), negative=testbed.conditioning(name, ""),
                latent={"samples": self.start(), "batch_index": list(self.images)}, denoise=s.denoise,
            ).run(model)  # fmt: skip
        finally:
            count.remove()
        return samples, sum(rows) / len(self.images) / self.streams

    @cached_property
    def reference(self) -> tuple[torch.Tensor, float]:
        """Images of the full run and its calls."""
        samples, calls = self.sample(self.patcher())
        return self.decoded(samples), calls

    def decoded(self, samples: torch.Tensor) -> torch.Tensor:
        """Images ``(N * frames, H, W, 3)`` in [0, 1]."""
        return self.comfy.pictures(samples, self.model.name).clamp(0, 1)

    def judged(self, samples: torch.Tensor, calls: float, **more: Any) -> dict:
        """A row: calls of the model, and decibels of each image, all its frames together."""
        found = psnr(self.decoded(samples), self.reference[0], len(self.images))
        return {"calls": calls, "psnr": found, "samples": samples, **more}

    def run(self, config: Any) -> tuple[torch.Tensor, list[float], Any]:
        """A run of the pack with these settings: latents, computed calls of each image, and the run."""
        runs: list = []
        samples, _ = self.sample(self.comfy.pack.model_patchers.attach(self.patcher(), config, runs=runs))
        each = [0.0] * len(self.images)
        for passed in runs[-1].passes:
            for key, decision in zip(passed.keys, passed.decisions, strict=True):
                each[key.row] += (not decision.reuse) / self.streams
        return samples, each, runs[-1]

    def cached(self, config: Any) -> dict:
        samples, each, run = self.run(config)
        return self.judged(samples, sum(each) / len(each), each=each, run=run)

    def fewer(self, steps: int) -> dict:
        """No cache, only fewer steps."""
        return self.judged(*self.sample(self.patcher(), steps))


def psnr(images: torch.Tensor, reference: torch.Tensor, samples: int) -> list[float]:
    """Decibels of each sample, all its frames together; images in [0, 1]."""
    errors = (images - reference).square().reshape(samples, -1).mean(1)
    return [min(LARGEST_PSNR, -10 * math.log10(e)) if e > 0 else LARGEST_PSNR for e in errors.tolist()]


def pooled(psnr: Sequence[float]) -> float:
    """Decibels of the mean squared error over all images, so that the hard ones decide."""
    return -10 * math.log10(fmean(10 ** (-value / 10) for value in psnr))


def together(rows: Sequence[dict], digits: int | None = None) -> dict:
    """One row of cells that differ in their images alone."""
    counts = [len(row["psnr"]) for row in rows]
    calls = sum(row["calls"] * count for row, count in zip(rows, counts, strict=True)) / sum(counts)
    psnr = [value for row in rows for value in row["psnr"]]
    return {"calls": calls, "psnr": psnr if digits is None else [round(value, digits) for value in psnr]}
