"""One pass at a time through a network, where a pass changes the network for as long as it lasts.

Clones of a model share one network, and hosts may sample in several threads.  What a cache puts into the network for
the length of a pass (see ``compose`` and ``compiling``) must not be met by another thread's pass.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn

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
