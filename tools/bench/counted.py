"""What the pack itself does in one call of the model: waits for the device, operations, passes over large tensors.

``python3 tests/host/run.py --script tools/bench/counted.py`` writes tools/bench/results/calls.json and its table in
docs/numbers.md.  Nothing is timed: the counts are the same on every machine.

An operation is the pack's if the nearest Python frame outside of torch is in the pack's folder, so that what the host
and the model do meanwhile is not counted.  On a CPU nothing waits for a device: counted is what would wait for one
elsewhere.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import bench
import models
import torch
from loads import APART, CONTROL, GUIDED, PLAIN, Sampler
from scripted_skips import METHODS
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Narrow and of few blocks, as the counts depend on neither, and large enough that a sample of the latent is not all of
# it (``dicache_core.engine.input_jump``).
SHAPE = models.Shape(128, (24, 24), 16, 128, "Flux, narrow")
PROBE_TOKENS = 48  # of 144: fewer than all, as it is wherever there are more than 1024
LOADS = (PLAIN, GUIDED, CONTROL, APART)
TORCH = str(Path(torch.__file__).parent)
PLANS = f"engine{os.sep}paced_gate.py"

READS = {"tolist", "numpy", "__array__", "cpu"}  # of a tensor's methods, those that no operation shows on a CPU
WAITS = {  # operations that bring a number to the host, or a size that depends on numbers
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero",
    "aten::_unique2", "aten::unique_dim",
}  # fmt: skip
BY_MASK = {"aten::index", "aten::index_put", "aten::index_put_"}  # look for the places where a mask is true
BRINGS = {"tensor", "as_tensor", "from_numpy"}  # make a tensor of the host's numbers


@dataclass
class Work:
    """What the pack did in one call.

    Attributes:
        syncs: waits for the device, by the function that asked.
        brought: copies of the host's own numbers to the device, by the same.
        passes: operations that go over a large tensor once, by what is the largest that they read or write.
        operations: all that touch data; on a GPU each is a kernel at least.
    """

    syncs: Counter = field(default_factory=Counter)
    brought: Counter = field(default_factory=Counter)
    passes: Counter = field(default_factory=Counter)
    operations: int = 0


class _Methods(TorchFunctionMode):
    """Sees what becomes no operation on a CPU."""

    def __init__(self, folder: str, work: Work) -> None:
        super().__init__()
        self.folder, self.work = folder, work

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        reads = name in READS or (name == "to" and "cpu" in args)
        if (reads or name in BRINGS) and (asked := _asked_by(self.folder)):
            (self.work.syncs if reads else self.work.brought)[asked] += 1
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Sees every operation; ``kinds`` are the shapes of one sample's large tensors by name, the largest first."""

    def __init__(self, folder: str, work: Work, kinds: dict[str, tuple[tuple[int, ...], ...]]) -> None:
        super().__init__()
        self.folder, self.work, self.kinds = folder, work, kinds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if asked := _asked_by(self.folder):
            self._count(func, [t for t in tree_leaves((args, kwargs or {})) if isinstance(t, Tensor)], out, asked)
        return out

    def _count(self, func: Any, read: list[Tensor], out: Any, asked: str) -> None:
        written = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        name = func.name().partition(".")[0]
        if name in WAITS or (name in BY_MASK and any(t.dtype == torch.bool for t in read)):
            self.work.syncs[asked] += 1
        places = {t.untyped_storage().data_ptr() for t in read}
        made = [t for t in written if t.untyped_storage().data_ptr() not in places]
        if not made and written and not func._schema.is_mutable:
            return  # a view
        if name.removeprefix("aten::").startswith(("empty", "new_empty")):
            return
        self.work.operations += 1
        touched = {self._kind_of(tensor) for tensor in (*read, *written)}
        largest = next((name for name in self.kinds if name in touched), None)
        if largest is not None:
            self.work.passes[largest] += 1

    def _kind_of(self, tensor: Tensor) -> str | None:
        return next((name for name, shapes in self.kinds.items() if any(map(_ends_with(tensor), shapes))), None)


def _ends_with(tensor: Tensor) -> Callable[[tuple[int, ...]], bool]:
    return lambda shape: tuple(tensor.shape[max(0, tensor.ndim - len(shape)) :]) == shape


def _asked_by(folder: str) -> str:
    """The pack's function that asked for what torch does now; empty where another one did, or where a run's plan is
    worked out: that is done on the CPU, once, and waits for no device."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith(TORCH):
            return frame.f_code.co_name if file.startswith(folder) and not file.endswith(PLANS) else ""
        frame = frame.f_back
    return ""


@contextmanager
def counted(pack: Any, kinds: dict[str, tuple[tuple[int, ...], ...]]) -> Iterator[Work]:
    """Counts while the context lasts."""
    folder, work = f"{Path(pack.__file__).parent}{os.sep}", Work()
    with ExitStack() as modes:
        modes.enter_context(_Methods(folder, work))
        modes.enter_context(_Operations(folder, work, kinds))
        yield work


class CountedCalls:
    """``PREDICT_NOISE`` wrapper outside of the node's: the work of each call, and the reasons of its decisions."""

    def __init__(self, sampler: Sampler, runs: list) -> None:
        self.sampler, self.runs = sampler, runs
        tokens, width = sampler.size
        latent = sampler.shape.noise()[1:]
        self.kinds = {
            "hidden": ((tokens, width),),
            "latent": (latent, (prod(latent),)),
            "probe": ((PROBE_TOKENS, width),),
        }
        self.calls: list[tuple[frozenset[str], Work]] = []

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        passes = self.runs[-1].passes
        before = len(passes)
        with counted(self.sampler.pack, self.kinds) as work:
            answer = executor(*args, **kwargs)
        reasons = frozenset(d.reason for passed in passes[before:] for d in passed.decisions)
        self.calls.append((reasons, work))
        return answer


# A run of twelve steps, the first four and the last closed, 5, 7 and 8 skipped; per kind of call its place in it.
STEPS, CLOSED, SKIPPED = 12, 4, (5, 7, 8)
CALLS = {
    "warm-up": 2,
    "last of the warm-up": 3,
    "computed": 4,
    "skipped": 5,
    "computed after a skipped one": 6,
    "skipped after a skipped one": 8,
    "last": 11,
}


def calls_of(sampler: Sampler, method: str) -> dict[str, tuple[frozenset[str], Work]]:
    """Per kind of call what its decisions went by, and what the pack did."""

    def skips(step: int, row: int) -> bool:
        return step in SKIPPED and (row % 2 == 1 or not sampler.load.apart)

    config = METHODS[method](sampler.pack, sampler.architecture, skips)
    runs: list = []
    model = sampler.cached(replace(config, warmup_steps=CLOSED, probe_tokens=PROBE_TOKENS), runs)
    counts = CountedCalls(sampler, runs)
    sampler.wrap(model, "PREDICT_NOISE", counts)
    sampler.run(model, STEPS)
    return {name: counts.calls[step] for name, step in CALLS.items()}


def record(comfy: Any) -> list[dict]:
    """Every load, method and kind of call, as the JSON has it."""
    rows, patcher = [], models.build("flux", SHAPE, torch.device("cpu"), **models.SHALLOW["flux"])
    for load, method in product(LOADS, METHODS):
        for kind, (reasons, work) in calls_of(Sampler(comfy, "flux", SHAPE, load, patcher), method).items():
            found = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(work).items()}
            rows.append({"load": load.name, "method": method, "call": kind, "reasons": sorted(reasons), **found})
    return rows


if __name__ == "__main__":
    import numbers_page

    bench.write("calls.json", record(bench.host()))
    numbers_page.publish()
