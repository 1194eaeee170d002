"""Time and peak memory of a function."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def median_seconds(function: Callable[[], object], repeats: int, *, warm_up: bool = True) -> float:
    """Median time of a call over `repeats` calls."""
    if warm_up:
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_bytes(function: Callable[[], object]) -> int:
    """Peak of the CPU memory that `function` took in addition, by torch's allocator."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = function()
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    size = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        size += event.nbytes()
        peak = max(peak, size)
    del result
    return peak
