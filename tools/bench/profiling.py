"""Clocks and scales: seconds with the device waited for, bytes at the peak and bytes held, medians and quartiles."""

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor


def now(device: torch.device) -> float:
    """Seconds, once everything queued on ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(device: torch.device, work: Callable[[], Any]) -> float:
    begin = now(device)
    work()
    return now(device) - begin


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median and quartiles."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    rounded = {"median": statistics.median(values), "low": low, "high": high}
    return {name: round(value, digits) for name, value in rounded.items()}


def error_of_median(values: Sequence[float]) -> float:
    """Standard error of the median, from the quartiles: of normal values ``sqrt(pi / 2) sigma / sqrt(n)``."""
    low, _, high = statistics.quantiles(values, n=4)
    sigma = (high - low) / (2 * statistics.NormalDist().inv_cdf(0.75))
    return math.sqrt(math.pi / 2) * sigma / math.sqrt(len(values))


def peak_bytes(device: torch.device, work: Callable[[], Any]) -> int:
    """Most bytes that ``work`` had allocated at one time, beyond what was there before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    return _peak_on_the_host(work)


def _peak_on_the_host(work: Callable[[], Any]) -> int:
    """The same from the allocator's records, which torch's profiler keeps on a CPU."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        work()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda e: e.start_ns())
    level = peak = 0
    for event in events:
        level += event.nbytes()
        peak = max(peak, level)
    return peak


def memories() -> dict[int, int]:
    """Bytes of every memory that a tensor in this process refers to, by address; the compiler's stand-ins have none."""
    objects = gc.get_objects()
    kinds = set(map(type, objects))  # isinstance would wake lazy objects
    tensors = {kind for kind in kinds if issubclass(kind, torch.Tensor) and not issubclass(kind, FakeTensor)}
    found = (o for o in objects if type(o) in tensors)
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found if t.layout == torch.strided}
