"""Looking for what a cache leaves behind."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class Held:
    """Weak references to every tensor that any session keeps between steps."""

    def __init__(self) -> None:
        self.refs: list[weakref.ref] = []

    @property
    def alive(self) -> int:
        gc.collect()
        return sum(r() is not None for r in self.refs)


@contextmanager
def watching(pack: ModuleType) -> Iterator[Held]:
    """Notes what is kept after each decision and each computed step."""
    held, sample = Held(), pack.dicache_core.SampleCache
    record, settle = sample.record, sample.settle

    def watched(original):
        def call(self, *args):
            original(self, *args)
            held.refs.extend(weakref.ref(t) for t in self.held)

        return call

    sample.record, sample.settle = watched(record), watched(settle)
    try:
        yield held
    finally:
        sample.record, sample.settle = record, settle
