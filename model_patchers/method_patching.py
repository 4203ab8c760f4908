"""What putting a cache around part of a network takes: methods replaced for one call, one thread at a time.

Clones of a model share one network, and hosts may sample in several threads.  What a cache puts into the network for
the length of a pass (see ``stack`` and ``compiling``) must not be met by another thread's pass.
"""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from ..dicache_core import ForwardPass, Reason
from .family import Family

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_making = threading.Lock()


@contextmanager
def exclusively(network: nn.Module) -> Iterator[None]:
    """Wait until no other thread has ``network`` to itself, and have it for the length of the block.

    The thread that has it may take it again: guidance may call the model inside of a pass.
    """
    with _making:
        lock = _locks.setdefault(network, threading.RLock())
    with lock:
        yield


NOTHING = object()

log = logging.getLogger("dicache")


def replace(
    module: nn.Module, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]], restored: ExitStack
) -> None:
    """Put ``around(method)`` in place of a method of one instance, until ``restored`` closes."""
    own = vars(module).get(name, NOTHING)  # torch.compile and other packs leave one on the instance too
    vars(module)[name] = around(getattr(module, name))
    restored.callback(_put_back, module, name, own)


def _put_back(module: nn.Module, name: str, own: object) -> None:
    if own is NOTHING:
        vars(module).pop(name, None)
    else:
        vars(module)[name] = own


def by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    """A call's arguments by name, those that its function takes as ``**kwargs`` among them."""
    call: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        more = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        call.update(value if more else {name: value})
    return call


def set_options(bound: inspect.BoundArguments, options: Mapping[str, Any]) -> None:
    """Give a call other ``transformer_options``, wherever its function takes them."""
    if "transformer_options" in bound.arguments:
        bound.arguments["transformer_options"] = options
        return
    for name, value in bound.arguments.items():
        more = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        if more and "transformer_options" in value:
            bound.arguments[name] = {**value, "transformer_options": options}
            return


@functools.cache  # of classes: as many as the host has
def signature_in(network: type[nn.Module], name: str) -> inspect.Signature:
    """The signature of a class's method as it is called; reading one takes longer than all else here.

    Of the class, as what another pack has put on the instance may take anything.
    """
    whole = inspect.signature(getattr(network, name))
    return whole.replace(parameters=list(whole.parameters.values())[1:])


def end_of_cache(cache: ForwardPass, family: Family) -> None:
    """The blocks run more than once per call: which of their runs a history is of, nobody can tell."""
    if cache.histories.abandoned:
        return
    log.warning(
        "DiCache: this %s model runs its blocks several times in one step, so the rest of this run is computed. "
        "To skip steps, choose the preset fidelity, balanced or fast.",
        family.name,
    )
    cache.histories.abandon(Reason.BLOCKS_REPEATED)
