"""Calls with a hard time limit: in worker processes that are killed when time is up.

Scorers that read text as mathematics can run for ever, or use signals that only the main thread may use; here each
call runs in a worker of its own, so any thread may make it. The workers start with the first call.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pebble import ProcessPool

NUM_WORKERS = min(4, os.cpu_count() or 1)
MAX_EXTRA_BYTES = 4 * 2**30
"""Memory that a worker may take beyond what it started with (Linux only)."""

_lock = threading.Lock()


def call_each(function: Callable[..., Any], rows: Sequence[Sequence[Any]], *, timeout: float) -> list[Any]:
    """`function(*row)` for each row, in workers; None where it raises, dies or takes over `timeout` seconds.

    The function must be importable by name. Waiting for a free worker does not count towards the time.
    """
    if not rows:
        return []
    with _lock:
        pool = _pool()
    futures = [pool.schedule(function, args=list(row), timeout=timeout) for row in rows]
    return [_result_or_none(future) for future in futures]


def _result_or_none(future: Future[Any]) -> Any:
    try:
        return future.result()
    except Exception:  # hostile input: whatever the function raises, and its worker's death, means no result
        return None


@cache
def _pool() -> ProcessPool:
    """The workers. On Linux they are forked: spawning would run the user's script a second time in each."""
    from pebble import ProcessPool

    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    return ProcessPool(max_workers=NUM_WORKERS, context=context, initializer=_limit_memory)


def _limit_memory() -> None:
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MAX_EXTRA_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _forget_pool() -> None:
    """A forked child has none of the parent's pool threads, and perhaps a lock held for ever: it starts anew."""
    global _lock
    _lock = threading.Lock()
    _pool.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
