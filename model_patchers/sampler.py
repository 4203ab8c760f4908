"""What a sampler does with the model's outputs, found by asking it.

A sampler's function is linear in what the model tells it, but for those that choose their steps by what they see.  So
it is run once before the run, on a model of one pixel that answers with a unit impulse, one row of a tiny batch for
each call: what comes out in row ``k`` is the weight of call ``k`` in the result.  That takes milliseconds and no table
of names, and says how many calls there are, at which sigmas, and how much noise is added on the way.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch
from comfy.samplers import Sampler
from torch import Tensor

from ..dicache_core import Lane, in_lanes

log = logging.getLogger("dicache")

POST_CFG = "sampler_post_cfg_function"  # how samplers of the cfg_pp kind get at the negative cond's output


class Conduct(Enum):
    """What can be said of a sampler beforehand."""

    PLAIN = "plain"  # its calls are known, and it adds no noise
    NOISY = "noisy"  # its calls are known, and it adds noise
    UNKNOWN = "unknown"  # it could not be asked: it may add noise
    ERRATIC = "erratic"  # it chooses its calls by what it sees


@dataclass(frozen=True)
class SamplerAnswer:
    """What asking a sampler gave.

    Slots:
        conduct: what can be said of it.
        lanes: its calls, with the weight of each in the result: of ``d = (x - denoised) / sigma`` for a plain sampler,
            of ``denoised`` for one that adds noise.  Of one that could not be asked one call per step, without weights.
    """

    conduct: Conduct
    lanes: tuple[Lane, ...]

    @property
    def forecasts_denoised(self) -> bool:
        """Whether skipped calls are to be forecast as ``denoised``: ``d`` would carry noise that is no longer there."""
        return self.conduct in (Conduct.NOISY, Conduct.UNKNOWN)


def ask(sampler: Sampler, sigmas: Tensor, model_sampling: Any) -> SamplerAnswer:
    """Run the function of ``sampler`` on a toy along ``sigmas`` ``(steps + 1,)``."""
    function = getattr(sampler, "sampler_function", None)
    unknown = SamplerAnswer(Conduct.UNKNOWN, (Lane(tuple(sigmas.tolist()[:-1])),))
    if function is None:  # a sampler of another pack's own kind
        return unknown
    question = _Question(function, sigmas.detach().float().cpu(), model_sampling, dict(sampler.extra_options))
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            return _answer(question)
    except Exception as error:  # foreign code on a toy: whatever it raises says that it cannot be asked
        log.info("DiCache: this sampler could not be asked how it works (%s: %s).", type(error).__name__, error)
        return unknown


def _answer(question: _Question) -> SamplerAnswer:
    still = question.run(_still, rows=1, noise=_loud)
    calls, noise = still.sigmas, []
    if still.moved:
        begun = question.run(_still, rows=1, noise=_quiet, start=calls[0])
        noise = [size / sigma for size, sigma in zip(begun.inputs, begun.sigmas, strict=True)]
    guided = question.run(_Impulse(len(calls), still.moved), rows=len(calls), noise=_quiet)
    if guided.sigmas != calls:
        return SamplerAnswer(Conduct.ERRATIC, ())
    # Samplers of the cfg_pp kind use the negative cond's output once more, and start each step from the picture itself:
    # an error of one step is gone with the next, and making it good would bring it back.
    negative = question.run(_Impulse(len(calls), still.moved, of_negative=True), rows=len(calls), noise=_quiet)
    weights = [] if negative.moved else guided.result.tolist()
    if negative.moved:  # nothing is left of what an earlier call saw: forecasts blind to the input ruin the picture
        noise = [0.0] * len(calls)
    return SamplerAnswer(Conduct.NOISY if still.moved else Conduct.PLAIN, in_lanes(calls, weights, noise))


@dataclass
class _Question:
    """One sampler's function and what it is run with."""

    function: Callable[..., Tensor]
    sigmas: Tensor
    model_sampling: Any
    options: Mapping[str, Any]

    def run(
        self,
        answers: Callable[[int, Tensor, float], tuple[Tensor, Tensor]],
        rows: int,
        noise: Callable[..., Tensor],
        start: float = 0.0,
    ) -> _Toy:
        """``start`` is the value of every pixel at the run's beginning."""
        options = dict(self.options)
        if "noise_sampler" in inspect.signature(self.function).parameters:
            options["noise_sampler"] = noise
        toy = _Toy(answers, self.model_sampling)
        begin = torch.full((rows, 1, 1, 1), start)
        extra = {"model_options": {}, "seed": 1}
        result = self.function(
            toy, begin, self.sigmas.clone(), extra_args=extra, callback=_ignore, disable=True, **options
        )
        toy.result = result.flatten()
        toy.moved |= bool(result.abs().max() > 0)
        return toy


@dataclass
class _Toy:
    """Stands in for the guided model as a sampler's function sees it; ``answers`` says what it denoises to.

    Slots:
        sigmas, inputs: of the calls so far; of the inputs the first row.
        moved: whether anything was ever not zero: with a model that always answers "nothing there", noise was added.
        result: what the sampler returned, ``(rows,)``.
    """

    answers: Callable[[int, Tensor, float], tuple[Tensor, Tensor]]
    model_sampling: Any
    sigmas: list[float] = field(default_factory=list)
    inputs: list[float] = field(default_factory=list)
    moved: bool = False
    result: Tensor | None = None

    def __post_init__(self) -> None:
        self.model_patcher = SimpleNamespace(get_model_object=lambda _name: self.model_sampling, model_options={})
        base = SimpleNamespace(model_sampling=self.model_sampling, model_patcher=self.model_patcher)
        self.inner_model = SimpleNamespace(
            inner_model=base, model_patcher=self.model_patcher, model_options={}, model_sampling=self.model_sampling
        )

    def __call__(self, x: Tensor, sigma: Tensor, **extra: Any) -> Tensor:
        at = float(sigma.flatten()[0])
        denoised, negative = self.answers(len(self.sigmas), x, at)
        self.sigmas.append(at)
        self.inputs.append(float(x.flatten()[0]))
        self.moved |= bool(x.abs().max() > 0)
        options = extra.get("model_options", {})
        for after in options.get(POST_CFG, []):
            denoised = after(
                {
                    "denoised": denoised, "cond_denoised": denoised, "uncond_denoised": negative, "input": x,
                    "sigma": sigma, "cond_scale": 1.0, "model": self.inner_model, "model_options": options,
                }
            )  # fmt: skip
        return denoised


@dataclass(frozen=True)
class _Impulse:
    """At call ``k`` row ``k`` of an output is 1, everything else 0.

    Slots:
        noisy: whether the output is ``denoised``, as samplers that add noise are asked, or ``d``.
        of_negative: whether it is the negative cond's output, or the guided one.
    """

    calls: int
    noisy: bool
    of_negative: bool = False

    def __call__(self, call: int, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        unit = torch.zeros_like(x)
        if call < self.calls:
            unit[call] = 1.0
        nothing, something = (torch.zeros_like(x), unit) if self.noisy else (x, x - sigma * unit)
        return (nothing, something) if self.of_negative else (something, nothing)


def _still(_call: int, x: Tensor, _sigma: float) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(x), torch.zeros_like(x)


def _ignore(_progress: Any) -> None:
    pass


def _loud(*_: Any) -> Tensor:
    return torch.ones(())


def _quiet(*_: Any) -> Tensor:
    return torch.zeros(())
