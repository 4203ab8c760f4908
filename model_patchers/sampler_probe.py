"""What a sampler does with the model's outputs, found by asking it.

A sampler's function is linear in what the model tells it, but for those that choose their steps by what they see.  So
it is run once before the run, with a stand-in for the model that answers with a unit impulse, one row of a tiny batch
for each call: what comes out in row ``k`` is the weight of call ``k`` in the result.  That takes milliseconds and no
table of names, and says how many calls there are, at which sigmas, and how much noise is added on the way.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import torch
from comfy.patcher_extension import copy_nested_dicts
from comfy.samplers import KSamplerX0Inpaint, Sampler, sampling_function
from torch import Tensor

from ..dicache_core import CallSequence
from ..dicache_core.schedule import in_sequences
from .generators import Generators
from .stand_in import guider_stand_in

log = logging.getLogger("dicache")

BOTH = "sampler_calc_cond_batch_function"  # what the host asks in the model's place for the outputs of both conds
PIXELS = 2  # of the toy in each direction: some samplers divide noise by its own spread, and one pixel has none
LINEAR = 1e-2  # of the largest weight: how far twice the impulse may be from twice the answer

Answers = Callable[[int, Tensor, float], tuple[Tensor, Tensor]]  # call, x, sigma -> denoised of both conds


class SamplerKind(Enum):
    """What can be said of a sampler beforehand."""

    DETERMINISTIC = "deterministic"  # its calls are known, and it adds no noise
    STOCHASTIC = "stochastic"  # its calls are known, and it adds noise
    UNKNOWN = "unknown"  # it could not be asked: it may add noise
    ADAPTIVE = "adaptive"  # it chooses its calls by what it sees


@dataclass(frozen=True)
class SamplerProfile:
    """What asking a sampler gave.

    Attributes:
        kind: what can be said of it.
        sequences: its calls, with the weight of each in the result: of ``d = (x - denoised) / sigma`` for a plain
            sampler, of ``denoised`` for one that adds noise.  Of one that could not be asked one call per step, without
            weights.
    """

    kind: SamplerKind
    sequences: tuple[CallSequence, ...]

    @property
    def known(self) -> bool:
        """Whether the sampler could be asked."""
        return self.kind is not SamplerKind.UNKNOWN

    @property
    def forecasts_denoised(self) -> bool:
        """Whether skipped calls are to be forecast as ``denoised``: ``d`` would carry noise that is no longer there."""
        return self.kind in (SamplerKind.STOCHASTIC, SamplerKind.UNKNOWN)


NOT_PROBED = SamplerProfile(SamplerKind.UNKNOWN, ())  # of a run in which nothing is skipped: nobody is asked


def probe_sampler(sampler: Sampler, sigmas: Tensor, guider: Any, dimensions: int = 4) -> SamplerProfile:
    """Run the function of ``sampler`` on a toy along ``sigmas`` ``(steps + 1,)``, with a stand-in for ``guider``.

    ``dimensions`` are those of the run's latent ``(B, C, [T,] H, W)``.  Every generator of random numbers is left as it
    was, see ``Generators``.
    """
    function = getattr(sampler, "sampler_function", None)
    unknown = SamplerProfile(SamplerKind.UNKNOWN, (CallSequence(tuple(sigmas.tolist()[:-1])),))
    if function is None:  # a sampler of another pack's own kind
        return unknown
    probe = _Probe(function, sampler.extra_options, sigmas.detach().float().cpu(), guider, dimensions)
    try:
        with torch.inference_mode():
            return _profile(probe)
    except Exception as error:  # foreign code on a toy: whatever it raises says that it cannot be asked
        log.info("DiCache: this sampler could not be analysed (%s: %s).", type(error).__name__, error)
        return unknown


def _profile(probe: _Probe) -> SamplerProfile:
    still = probe.run(_still, torch.zeros(1), noise=1.0)
    calls, kind = still.sigmas, SamplerKind.STOCHASTIC if still.moved else SamplerKind.DETERMINISTIC
    if not calls:
        raise ValueError("it never called the model")
    asked = _Impulses(len(calls), noisy=still.moved)
    begin = asked.begin(calls[0])
    once, twice = probe.run(asked, begin), probe.run(replace(asked, size=2.0), begin * 0)
    if not once.sigmas == twice.sigmas == calls:
        return SamplerProfile(SamplerKind.ADAPTIVE, ())
    # Noise that cannot be kept out is the same in every run: against a run without an impulse nothing of it is left.
    nothing = probe.run(_still, torch.zeros_like(begin)).seen if once.seen[:, -1].any() else 0.0
    once, twice = once.seen - nothing, twice.seen - nothing  # (calls + 1, rows)
    weights = once[-1, : len(calls)]
    if (twice[-1, : len(calls)] - 2 * weights).abs().max() > LINEAR * weights.abs().max():
        log.info("DiCache: this sampler is not linear in the model output, so its weights are unknown.")
        return SamplerProfile(SamplerKind.UNKNOWN, in_sequences(calls))
    # Samplers of the cfg_pp kind use the negative cond's output once more, and start each step from the image itself:
    # an error of one step is gone with the next, and making it good would bring it back.
    if once[:, len(calls) : -2].any():
        # Nothing is left of what an earlier call saw: forecasts blind to the input ruin the image.
        return SamplerProfile(kind, in_sequences(calls, noise=[0.0] * len(calls)))
    left = [float(x) / sigma for x, sigma in zip(once[:-1, -2], calls, strict=True)] if still.moved else []
    in_next = once[1:].diagonal().tolist() if still.moved else []
    return SamplerProfile(kind, in_sequences(calls, weights.tolist(), left, in_next))


class _Probe:
    """One sampler's function and what it is run with."""

    def __init__(
        self, function: Callable[..., Tensor], options: Mapping[str, Any], sigmas: Tensor, guider: Any, dimensions: int
    ) -> None:
        self.function = function
        self.options = options
        self.sigmas = sigmas
        self.guider = guider
        self.pixels = (1, *(PIXELS for _ in range(dimensions - 2)))
        self.generators = Generators(function, options)
        self.takes_noise = "noise_sampler" in inspect.signature(function).parameters

    def run(self, answers: Answers, begin: Tensor, noise: float = 0.0) -> _Toy:
        """``begin`` ``(rows,)`` is the value of every pixel at the run's beginning, ``noise`` of those that are drawn,
        where the sampler lets somebody else draw them; what it draws itself is the same in each run."""
        shape = (len(begin), *self.pixels)
        options = copy_nested_dicts(dict(self.options))
        if self.takes_noise:  # a new tensor each time, as the host scales it in place
            options["noise_sampler"] = lambda *_, **__: torch.full(shape, noise)
        toy = _Toy(answers)
        sigmas = self.sigmas.clone()
        guider = guider_stand_in(self.guider, sigmas, toy.predict)
        model = KSamplerX0Inpaint(guider, sigmas)
        model.latent_image = model.noise = torch.zeros(shape)
        extra = {"model_options": guider.model_options, "seed": 1, "denoise_mask": None}
        with self.generators.put_back():
            x = begin.reshape(-1, *(1 for _ in self.pixels)).expand(shape).clone()
            result = self.function(model, x, sigmas, extra_args=extra, callback=_ignore, disable=True, **options)
        toy.finish(result)
        return toy


@dataclass
class _Toy:
    """What a run's stand-in was asked; ``answers`` says what it denoises to.

    Attributes:
        sigmas: of the calls so far.
        seen: the first pixel of each call's input and then of the result, ``(calls + 1, rows)``; there at the end.
        moved: whether anything was ever not zero: with a model that always answers "nothing there", noise was added.
    """

    answers: Answers
    sigmas: list[float] = field(default_factory=list)
    seen: Tensor = field(init=False)
    moved: bool = False
    _pixels: list[Tensor] = field(default_factory=list)

    def predict(self, x: Tensor, timestep: Tensor, model_options: Mapping[str, Any], seed: int | None = None) -> Tensor:
        """The guided output, by the host's own way from both conds' outputs through the functions in the options."""
        both = self.answers(len(self.sigmas), x, float(timestep.flatten()[0]))
        self.sigmas.append(float(timestep.flatten()[0]))
        self._see(x)
        options = {**model_options, BOTH: lambda _args: [*both]}
        return sampling_function(None, x, timestep, None, None, 1.0, options, seed)

    def finish(self, result: Tensor) -> None:
        if not result.isfinite().all():
            raise ValueError("its result is no number")
        self._see(result)
        self.seen = torch.stack(self._pixels)

    def _see(self, x: Tensor) -> None:
        self._pixels.append(x.flatten(1)[:, 0].float().clone())
        self.moved |= bool(x.abs().max() > 0)


@dataclass(frozen=True)
class _Impulses:
    """Answers of 0, but for an impulse of ``size`` per row: at call ``k`` in row ``k`` of the guided output, and in row
    ``calls + k`` of the negative cond's.  Of two rows after them the first begins with noise, the second with nothing.

    ``noisy`` says whether the output is ``denoised``, as samplers that add noise are asked, or ``d``.
    """

    calls: int
    noisy: bool
    size: float = 1.0

    def begin(self, sigma: float) -> Tensor:
        """``(rows,)``: what the run begins with."""
        rows = torch.zeros(2 * self.calls + 2)
        rows[-2] = sigma
        return rows

    def __call__(self, call: int, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        guided, negative = torch.zeros_like(x), torch.zeros_like(x)
        if call < self.calls:
            guided[call] = negative[self.calls + call] = self.size
        return (guided, negative) if self.noisy else (x - sigma * guided, x - sigma * negative)


def _still(_call: int, x: Tensor, _sigma: float) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(x), torch.zeros_like(x)


def _ignore(_progress: Any) -> None:
    pass
