"""Sampling for the quality table: one testbed model in the real host, pictures against the uncached run."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from skimage.metrics import structural_similarity
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

from dicache_core import LARGEST_PSNR

STEPS = 30
BATCH = 16
PROBED = 4  # captions that thresholds are found on
CLOSE = 0.34  # computed steps on average that a found threshold may be off
TRIES = 7  # runs for finding one
# Smaller than these checkpoints' own sizes, so that the whole table fits in half an hour on two cores.
SIZES = {"flux": {"size": 20}, "hunyuan_video": {"size": 12, "frames": 3}, "wan": {"size": 8, "frames": 3}}
HOST_NODES = {"comfyui_easycache": "EasyCacheNode", "comfyui_lazycache": "LazyCacheNode"}
FEWER_STEPS = "fewer_steps"


@dataclass
class Result:
    """What a way of sampling gave.

    Slots:
        pictures: ``(N * frames, H, W, 3)`` in [0, 1].
        computed: per sample and cond, steps that ran in full.
        seconds: of the sampler, for one caption alone.
    """

    pictures: torch.Tensor
    computed: list[float]
    seconds: float = 0.0


@dataclass
class Lab:
    """One model, its captions and its uncached pictures."""

    comfy: Any
    architecture: str
    captions: int
    seeds: int
    steps: int = STEPS
    curve: Any = None  # dicache_core.Curve
    plain: dict[torch.dtype, torch.Tensor] = field(default_factory=dict)

    @property
    def core(self) -> Any:
        return self.comfy.pack.dicache_core

    @property
    def compare(self) -> Any:
        return sys.modules[f"{self.comfy.pack.__name__}.model_patchers.compare"]

    def model(self, dtype: torch.dtype = torch.float32) -> Any:
        model = self.comfy.load_model(self.architecture)
        if dtype is not torch.float32:
            model.set_model_compute_dtype(dtype)
        return model

    def reference(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Uncached pictures in this compute dtype."""
        if dtype not in self.plain:
            batch = BATCH if dtype is torch.float32 else 1
            self.plain[dtype] = self.all(self.model(dtype), lambda _: [0.0], batch=batch).pictures
        return self.plain[dtype]

    def all(self, model: Any, count: Callable[[int], list[float]], *, batch: int = BATCH, steps: int = 0) -> Result:
        """Every caption and seed; ``count`` says, after a batch of so many, how many steps its samples computed."""
        pictures, computed = [], []
        for seed in range(self.seeds):
            for first in range(0, self.captions, batch):
                chosen = range(first, min(first + batch, self.captions))
                samples, _ = self.sample(model, chosen, seed, steps)
                pictures.append(self.pictures(samples))
                computed.extend(count(len(chosen)))
        return Result(torch.cat(pictures), computed)

    def sample(self, model: Any, chosen: Sequence[int], seed: int = 0, steps: int = 0) -> tuple[torch.Tensor, float]:
        """Latent ``(N, C, [T,] h, w)`` of some captions, each from its own noise whatever the batch, and seconds."""
        shape = testbed.SHAPES[self.architecture]
        start = testbed.empty_latent(self.architecture, len(chosen), **SIZES.get(self.architecture, {}))
        sampling = self.compare.Sampling(
            seed=seed, steps=steps or self.steps, cfg=shape.cfg, sampler_name="euler", scheduler="simple",
            positive=self.comfy._conditioning(self.architecture, [CAPTIONS[i] for i in chosen]),
            negative=testbed.conditioning(self.architecture, ""),
            latent={"samples": start, "batch_index": list(chosen)},
        )  # fmt: skip
        return self.compare._timed([model], sampling, lambda _step: None)

    @property
    def family(self) -> Any:
        """The row of the pack's table that the model belongs to."""
        return self.comfy.pack.model_patchers.family_of(self.network)

    @property
    def network(self) -> Any:
        return self.model().model.diffusion_model

    def applies(self, name: str) -> bool:
        """Whether a policy says something of this model that another one does not."""
        if name == "deepcache":  # elsewhere it is fixed_interval
            return self.family.unet
        if name == "fastercache":  # needs a pair of streams, and blocks that can be given one of them
            return testbed.SHAPES[self.architecture].cfg > 1 and bool(self.family.batched)
        return name not in self.core.POLICIES or (
            self.core.POLICIES[name].indicator != "teacache" or self.family.modulated is not None
        )

    def pictures(self, samples: torch.Tensor) -> torch.Tensor:
        return self.comfy.pictures(samples, self.architecture).clamp(0, 1)

    def calibrate(self) -> Any:
        """The curve of the calibrated methods, from one full run of the first captions."""
        runs: list = []
        model = self.comfy.pack.model_patchers.attach(self.model(), self.core.calibration(), runs=runs)
        self.sample(model, range(PROBED))
        return self.core.curve_of(runs[0])


def run_policy(lab: Lab, config: Any, captions: int = 0) -> Result:
    """The pack with these settings, on all captions and seeds, or on the first few of one seed."""
    runs: list = []
    model = lab.comfy.pack.model_patchers.attach(lab.model(), config, runs=runs)

    def count(_samples: int) -> list[float]:
        return [float(sum(not d.reuse for _, d in lane)) for lane in runs[-1].lanes().values()]

    if captions:
        return Result(lab.pictures(lab.sample(model, range(captions))[0]), count(captions))
    result = lab.all(model, count)
    result.seconds = lab.sample(model, [0])[1]
    return result


def run_host_node(lab: Lab, name: str, threshold: float, captions: int = 0) -> Result:
    """The host's own cache, one caption at a time, as it decides for a whole batch; in bfloat16: docs/quality.md."""
    cls = getattr(lab.comfy.module("comfy_extras.nodes_easycache"), HOST_NODES[name])
    model = cls.execute(lab.model(torch.bfloat16), threshold, 0.15, 0.95, False).result[0]
    last = lab.network.out if lab.family.unet else lab.family.blocks(lab.network)[-1].module
    passes = [0]
    handle = last.register_forward_hook(lambda *_: passes.__setitem__(0, passes[0] + 1))

    def count(_samples: int) -> list[float]:
        found, passes[0] = passes[0], 0
        return [float(found)]

    try:
        if captions:
            computed = []
            for caption in range(captions):
                lab.sample(model, [caption])
                computed += count(1)
            return Result(torch.empty(0), computed)
        result = lab.all(model, count, batch=1)
        result.seconds = lab.sample(model, [0])[1]
        return result
    finally:
        handle.remove()


def run_fewer(lab: Lab, steps: int) -> Result:
    """No cache at all, only fewer steps."""
    result = lab.all(lab.model(), lambda samples: [float(steps)] * samples, steps=steps)
    result.seconds = lab.sample(lab.model(), [0], steps=steps)[1]
    return result


class Matcher:
    """Finds the threshold that computes a wanted number of steps on average, from runs on a few captions."""

    def __init__(self, count: Callable[[float], float], first: float) -> None:
        self.count = count
        self.first = first
        self.known: dict[float, float] = {}  # log of the threshold -> computed steps

    def threshold(self, wanted: float) -> float:
        for _ in range(TRIES):
            best = self._best(wanted)
            if best is not None and abs(self.known[best] - wanted) <= CLOSE:
                break
            guess = self._guess(wanted)
            if guess in self.known:
                break
            self.known[guess] = self.count(math.exp(guess))
        return math.exp(self._best(wanted))

    def _best(self, wanted: float) -> float | None:
        return min(self.known, key=lambda x: abs(self.known[x] - wanted), default=None)

    def _guess(self, wanted: float) -> float:
        """Between the two thresholds around the wanted number, or beyond all of them."""
        if not self.known:
            return math.log(self.first)
        above = max((x for x, n in self.known.items() if n > wanted), default=None)  # computes too many
        below = min((x for x, n in self.known.items() if n <= wanted), default=None)
        if above is None:
            return below - 1.2
        if below is None:
            return above + 1.2
        high, low = self.known[above], self.known[below]
        share = min(max((high - wanted) / (high - low), 0.2), 0.8)
        return above + share * (below - above)


def psnr_per_sample(pictures: torch.Tensor, reference: torch.Tensor, samples: int) -> list[float]:
    """Decibels of each sample, all its frames together; pictures in [0, 1]."""
    errors = (pictures - reference).square().reshape(samples, -1).mean(1)
    return [min(LARGEST_PSNR, -10 * math.log10(e)) if e > 0 else LARGEST_PSNR for e in errors.tolist()]


def ssim(pictures: torch.Tensor, reference: torch.Tensor) -> float:
    """Mean structural similarity of all pictures."""
    pairs = zip(pictures.numpy(), reference.numpy(), strict=True)
    return statistics.fmean(structural_similarity(a, b, channel_axis=-1, data_range=1.0) for a, b in pairs)


def with_target(config: Any, computed: int) -> Any:
    return replace(config, target=str(computed))
