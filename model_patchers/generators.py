"""Every generator of random numbers that a function may draw from, and putting them back as they were."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from comfy.model_management import get_torch_device
from torch import Tensor, nn

# Nothing of theirs holds a generator of a sampler's, and behind their modules lies everything.
LIBRARIES = {*sys.stdlib_module_names, "torch", "numpy", "comfy"}
GENERATORS = (
    torch.Generator, np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random,
)  # fmt: skip
WITHOUT = (ModuleType, Tensor, np.ndarray, nn.Module)  # hold none, and a lot else

Restore = Callable[[], None]


class Generators:
    """The global generators of torch, of its device, of numpy and of Python, and those that ``roots`` can reach:
    through a function's closure, defaults and globals, a bound method's or any other object's attributes, containers.

    What else a function keeps (a counter, an iterator, the state of a library written in C) is not put back.
    """

    def __init__(self, *roots: Any) -> None:
        self._found = list(reachable(*roots))

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Whatever is drawn inside is drawn again after it."""
        restores = [*_of_everybody(), *(restore for found in self._found for restore in _state_of(found))]
        try:
            yield
        finally:
            for restore in restores:
                restore()


def reachable(*roots: Any) -> Iterator[Any]:
    """The generators that can be reached from ``roots``, each once."""
    seen: dict[int, Any] = {}  # with the objects: an identity is only theirs while they live
    waiting = list(roots)
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, WITHOUT):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, GENERATORS):
            yield thing
        else:
            waiting += _held(thing)


def _held(thing: Any) -> list[Any]:
    """What hangs on an object, found without running anything of its."""
    if isinstance(thing, FunctionType):
        held = [thing.__closure__, thing.__defaults__, thing.__kwdefaults__, thing.__dict__]
        return held if _of_library(thing) else held + [thing.__globals__.get(name) for name in _names(thing.__code__)]
    if isinstance(thing, type):
        return [] if _of_library(thing) else [*vars(thing).values(), *thing.__bases__]
    return gc.get_referents(thing)


def _of_library(thing: Any) -> bool:
    return (thing.__module__ or "").partition(".")[0] in LIBRARIES


def _names(code: CodeType) -> Iterator[str]:
    """The global names that a function reads, those of functions inside it among them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _state_of(generator: Any) -> Iterator[Restore]:
    """What puts one generator back as it is now; nothing where it has no state, as what draws from the system."""
    if isinstance(generator, (torch.Generator, np.random.RandomState)):
        yield _restore(generator.set_state, generator.get_state())
    elif isinstance(generator, random.Random):
        if not isinstance(generator, random.SystemRandom):
            yield _restore(generator.setstate, generator.getstate())
    else:
        bits = generator.bit_generator if isinstance(generator, np.random.Generator) else generator
        yield _restore(lambda state: setattr(bits, "state", state), bits.state)


def _of_everybody() -> Iterator[Restore]:
    yield _restore(torch.set_rng_state, torch.get_rng_state())
    yield _restore(np.random.set_state, np.random.get_state())
    yield _restore(random.setstate, random.getstate())
    kind = get_torch_device().type
    of_device = getattr(torch, kind, None) if kind != "cpu" else None
    if of_device is not None:  # torch has a module for most kinds of devices; the rest draw on the CPU
        places = [()] if kind == "mps" else [(number,) for number in range(of_device.device_count())]
        for place in places:
            yield _restore(lambda state, place=place: of_device.set_rng_state(state, *place),
                           of_device.get_rng_state(*place))  # fmt: skip


def _restore(put: Callable[[Any], None], state: Any) -> Restore:
    return lambda: put(state)
