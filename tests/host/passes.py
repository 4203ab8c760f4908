"""Sampling the testbed's models with and without a cache, small enough to do it hundreds of times."""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from testbed import conditioning as testbed
from testbed.captions import CAPTIONS

ARCHITECTURES = ("flux", "hunyuan_video", "wan")
SIZES = {"flux": {"size": 16}, "hunyuan_video": {"size": 8, "frames": 3}, "wan": {"size": 8, "frames": 3}}
STEPS = 10
SOME = 0.2  # at these sizes and steps: skips some steps behind the warm-up and computes others, on all three models
COMPOSED = 1e-30  # composes everything and skips nothing


@dataclass
class Passes:
    """One architecture in the real host.

    Attributes:
        runs: statistics of every cached run so far.
    """

    comfy: Any
    architecture: str
    runs: list = field(default_factory=list)

    @property
    def core(self):
        return self.comfy.pack.dicache_core

    @property
    def run(self):
        """Statistics of the latest run."""
        return self.runs[-1]

    def model(self):
        return self.comfy.load_model(self.architecture)

    def cached(self, model=None, threshold: float = SOME, **settings):
        """``model`` with a cache; warm-up of two steps unless said otherwise."""
        config = self.core.CacheConfig(threshold=threshold, **(dict(warmup_steps=2) | settings))
        return self.comfy.pack.model_patchers.attach(model or self.model(), config, runs=self.runs)

    def text(self, text: str = CAPTIONS[0]) -> list:
        return testbed.conditioning(self.architecture, text)

    def latent(self, batch: int = 1, **size) -> torch.Tensor:
        return testbed.empty_latent(self.architecture, batch, **(SIZES[self.architecture] | size))

    def sample(self, model, positive=None, negative=None, latent=None, *, steps=STEPS, cfg=1.0, sampler="euler",
               scheduler="simple", seed=0, **ksampler) -> torch.Tensor:  # fmt: skip
        """The latent that ComfyUI's own ``common_ksampler`` returns, in inference mode as its executor runs it."""
        positive, negative = positive or self.text(), negative or self.text("")
        start = {"samples": self.latent() if latent is None else latent}
        with torch.inference_mode():
            (sampled,) = self.comfy.nodes.common_ksampler(
                model, seed, steps, cfg, sampler, scheduler, positive, negative, start, **ksampler
            )
        return sampled["samples"]

    def extra(self, node: str, *args: Any, **inputs: Any):
        """First output of a node of ComfyUI's own extras, ``nodes_slg.SkipLayerGuidanceDiT``; skips without it."""
        module, name = node.rsplit(".", 1)
        try:
            cls = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
        except (ImportError, AttributeError):
            pytest.skip(f"ComfyUI {self.comfy.version} has no node {name}")
        if hasattr(cls, "GET_SCHEMA"):
            return cls.execute(*args, **inputs).result[0]
        return getattr(cls(), cls.FUNCTION)(*args, **inputs)[0]

    def decisions(self, run=None) -> list[list[tuple[int, bool]]]:
        """Per sample, (step, reused), in the order in which the samples appeared."""
        return [[(s.step_index, d.reuse) for s, d in sample] for sample in (run or self.run).by_sample().values()]


def some(run) -> bool:
    """Whether a run both skipped and, behind the warm-up, computed: anything else would show nothing."""
    reasons = {d.reason for passed in run.passes for d in passed.decisions}
    return {"reused", "error"} <= reasons


def streams(run) -> set:
    return {key.stream for passed in run.passes for key in passed.keys}


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-5) -> None:
    difference = (ours - theirs).abs().max()
    assert difference <= tolerance * max(1.0, float(theirs.abs().max())), f"largest difference {difference}"


def flat(parts: Iterable[list]) -> list:
    return [x for part in parts for x in part]
