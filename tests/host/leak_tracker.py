"""Looking for what a cache leaves behind."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest


class Held:
    """Weak references to every session and trail, and to every tensor that they keep between steps."""

    def __init__(self) -> None:
        self.refs: list[weakref.ref] = []

    @property
    def alive(self) -> int:
        gc.collect()
        return sum(r() is not None for r in self.refs)


@contextmanager
def watching(pack: ModuleType) -> Iterator[Held]:
    """Notes what is kept after each decision and each computed step, whatever these are called with."""
    held, core = Held(), pack.dicache_core

    def after(original, kept):
        def call(self, *args, **kwargs):
            out = original(self, *args, **kwargs)
            held.refs.extend(weakref.ref(each) for each in kept(self))
            return out

        return call

    with pytest.MonkeyPatch.context() as patch:
        for kind, names, kept in [
            (core.engine.sample_history.SampleHistory, ("record", "commit"), lambda sample: sample.held),
            (core.CacheSession, ("__init__",), lambda session: [session]),
            (core.engine.input_jump.InputDistanceBound, ("next",), lambda bound: [bound, *bound.__dict__.values()]),
        ]:
            for name in names:
                patch.setattr(kind, name, after(getattr(kind, name), kept))
        yield held
