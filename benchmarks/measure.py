"""Seconds and peak memory of a function."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def median_seconds(function: Callable[[], object], repeats: int, *, warm_up: bool = True) -> float:
    if warm_up:
        function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def peak_bytes(function: Callable[[], object]) -> int:
    """The most CPU memory that `function` held at once beyond what was there, as torch's allocator saw it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = function()
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    del kept
    return peak
