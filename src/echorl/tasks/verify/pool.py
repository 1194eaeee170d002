"""Grader calls in worker processes, with a hard limit on each call's CPU time and memory.

Graders that read text as mathematics can run for ever, take all memory, or use signals that only a main thread may use.
None of this does harm in a worker. Any thread may call, also in a daemonic process (of multiprocessing or Ray). Workers
are fresh interpreters that import nothing of echorl. The pools of multiprocessing and of pebble are not used: a forked
worker copies a process that may hold CUDA and threads (pebble hung at exit), a spawned worker runs the user's script
again if the script has no main guard, and a daemonic process may start neither kind.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any

from echorl.tasks.verify.process import MEMORY_LIMIT, Outcome, Worker

NUM_WORKERS = min(4, os.cpu_count() or 1)
CACHE_SIZE = 20_000
MAX_CACHED_CHARS = 2_000
"""Characters of the longest request (JSON) that is cached. Longer ones fill the memory and are seldom repeated."""
TURN = 64
"""Largest number of requests for a worker before its thread asks for a free one, so that other callers get a turn."""


class Pool:
    """Workers that have imported one package and take calls of the functions in `worker.py` that need it.

    The workers start with the first calls. They end with `close()` or with this process, however it ends.
    """

    def __init__(
        self,
        package: str,
        *,
        num_workers: int = NUM_WORKERS,
        memory_limit: int = MEMORY_LIMIT,
        cache_size: int = CACHE_SIZE,
    ) -> None:
        """
        Args:
            package: "math_verify" or "reasoning_gym".
            num_workers: number of calls at the same time, 1 or more.
            memory_limit: bytes that a worker may take in addition after its start (Linux only).
            cache_size: number of results that are cached for repeated calls, the last used ones.
        """
        if num_workers < 1:
            raise ValueError(f"num_workers {num_workers} leaves no worker to grade; give 1 or more")
        self.num_workers = num_workers
        self._package = package
        self._memory_limit = memory_limit
        self._cache_size = cache_size
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Outcome] = OrderedDict()
        self._workers = [Worker(self._package, memory_limit=self._memory_limit) for _ in range(self.num_workers)]
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in reversed(self._workers):
            self._free.put(worker)

    def call_each(self, function: str, rows: Sequence[Sequence[Any]], *, timeout: float) -> list[Outcome]:
        """`function(*row)` for each row, in order; equal rows are called once.

        A call that takes over `timeout` seconds of CPU time ends with its worker. So does a call that takes
        `WALL_FACTOR` times as long by the clock, or too much memory. A call whose worker dies otherwise, or was
        tampered with, is made once more. Results and errors are cached, time-outs and deaths are not. Arguments and
        results are values that JSON can hold.
        """
        requests = [json.dumps({"function": function, "arguments": list(row), "limit": timeout}) for row in rows]
        distinct = list(dict.fromkeys(requests))
        outcomes = self._recall(distinct)
        new_requests = [request for request in distinct if request not in outcomes]
        if new_requests:
            outcomes |= self._call_all(new_requests, timeout)
        return [outcomes[request] for request in requests]

    def close(self) -> None:
        """End all workers, also the busy ones; the next call starts new ones."""
        for worker in self._workers:
            worker.end()

    def _call_all(self, requests: list[str], timeout: float) -> dict[str, Outcome]:
        work = _Work(requests)
        num_threads = min(self.num_workers, len(requests))
        if num_threads == 1:
            self._do(work, timeout)
        else:
            with ThreadPoolExecutor(num_threads) as threads:
                try:
                    for thread in [threads.submit(self._do, work, timeout) for _ in range(num_threads)]:
                        thread.result()
                except BaseException:  # such as Ctrl-C, which would wait for the remaining requests
                    work.waiting.clear()
                    raise
        self._remember(work.outcomes)
        return work.outcomes

    def _do(self, work: _Work, timeout: float) -> None:
        while work.waiting:
            worker = self._free.get()
            try:
                for request, outcome in worker.call_each(islice(work, TURN), timeout=timeout):
                    work.finish(request, outcome)
            finally:
                self._free.put(worker)

    def _recall(self, requests: list[str]) -> dict[str, Outcome]:
        with self._lock:
            cached = {request: self._cache[request] for request in requests if request in self._cache}
            for request in cached:
                self._cache.move_to_end(request)
        return cached

    def _remember(self, outcomes: Mapping[str, Outcome]) -> None:
        with self._lock:
            for request, outcome in outcomes.items():
                small = len(request) <= MAX_CACHED_CHARS
                if small and (not outcome.reason or outcome.reason.startswith("error ")):
                    self._cache[request] = outcome
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)


class _Work:
    """Requests that several threads share; each takes one at a time."""

    def __init__(self, requests: Iterable[str]) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.waiting = deque(requests)
        self._lost: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        with suppress(IndexError):  # another thread took the last one
            while True:
                yield self.waiting.popleft()

    def finish(self, request: str, outcome: Outcome) -> None:
        """Store an outcome, or put a request back whose worker was lost.

        A request whose worker was lost is put back once, since it may not be the cause: the system may be short of
        memory, or an earlier call may have left a thread behind.
        """
        if outcome.reason in ("died", "tampered") and request not in self._lost:
            self._lost.add(request)
            self.waiting.appendleft(request)
        else:
            self.outcomes[request] = outcome


@cache
def shared_pool(package: str) -> Pool:
    """The pool that all graders of this process share, except graders with a `pool` of their own."""
    return Pool(package)


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _begin_again() -> None:
    """Let a forked child start its own workers, since it must not write to its parent's pipes."""
    for pool in _POOLS:
        pool._begin()


def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
