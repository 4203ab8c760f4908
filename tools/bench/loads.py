"""What is sampled in a measurement of cost: one model in the real host under one load, with the host's KSampler."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import models
import torch


@dataclass(frozen=True)
class Load:
    """How a model is called.

    Attributes:
        cfg: scale of the guidance; above 1 positive and negative go through the model in one call.
        control: whether a ControlNet runs beside it.
        apart: whether samples of the batch disagree: every other one is skipped alone.
        sampler: of the host's KSampler.
    """

    name: str
    cfg: float = 1.0
    batch: int = 1
    control: bool = False
    apart: bool = False
    sampler: str = "euler"


PLAIN = Load("plain")
GUIDED = Load("guided", cfg=4.0)
CONTROL = Load("ControlNet", control=True)
APART = Load("samples that disagree", batch=2, apart=True)
NOISY = Load("added noise", sampler="euler_ancestral")


@dataclass
class Sampler:
    """Runs of one model with random weights under one load, all from the same noise."""

    comfy: Any
    architecture: str
    shape: models.Shape
    load: Load
    patcher: Any

    def __post_init__(self) -> None:
        positive, negative = (models.conditioning(self.shape, self.load.batch, seed) for seed in (0, 1))
        if self.load.control:
            positive[0][1]["control"] = models.flux_control(self.shape, self.device)
        self.conditioning = positive, negative

    @property
    def pack(self) -> Any:
        return self.comfy.pack

    @property
    def device(self) -> torch.device:
        return torch.device(self.comfy.device)

    @property
    def network(self) -> Any:
        return self.patcher.model.diffusion_model

    @cached_property
    def family(self) -> Any:
        """Where the blocks of the network are."""
        return self.pack.model_patchers.family_of(self.network)

    @property
    def size(self) -> tuple[int, int]:
        """Tokens and width of one sample's hidden state."""
        return self.family.size(self.network, self.shape.noise())

    @property
    def streams(self) -> int:
        """Samples in one call of the model."""
        return self.load.batch * (2 if self.load.cfg > 1 else 1)

    def cached(self, config: Any, runs: list | None = None) -> Any:
        """The model with the node's cache around it."""
        return self.pack.model_patchers.attach(self.patcher, config, runs=runs)

    def patchers(self, module: str) -> Any:
        """A module of the pack's ``model_patchers``."""
        return sys.modules[f"{self.pack.__name__}.model_patchers.{module}"]

    def wrap(self, model: Any, kind: str, wrapper: Callable) -> None:
        """Put ``wrapper`` around what the host calls so."""
        kinds = self.comfy.module("comfy.patcher_extension").WrappersMP
        model.add_wrapper_with_key(getattr(kinds, kind), "bench", wrapper)

    def run(self, model: Any, steps: int, callback: Callable[[int], None] | None = None) -> float:
        """Seconds of the sampler, without what comes before it.

        A run without the node has the room for frames that one with it has: a run without room is as slow as its depth
        has it, by chance, and with the node it is deeper.  ``model_patchers/frames.py`` tells of it.
        """
        timed, clock = model.clone(), self.patchers("compare").TimedSampler(callback or (lambda _step: None))
        self.wrap(timed, "SAMPLER_SAMPLE", clock)
        latent = {"samples": torch.zeros(self.shape.noise(self.load.batch))}
        with torch.inference_mode():  # as the host's executor runs nodes
            (sampled,) = self.patchers("frames").with_room(
                self.comfy.nodes.common_ksampler,
                timed, 0, steps, self.load.cfg, self.load.sampler, "simple", *self.conditioning, latent,
            )  # fmt: skip
        if not torch.isfinite(sampled["samples"]).all():
            raise RuntimeError("the run did not end in numbers, so it shows nothing")
        return clock.seconds
