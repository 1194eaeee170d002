"""Grader calls in worker processes, with a hard limit on each call's time and memory.

Graders that read text as mathematics can run for ever, take all memory, or use signals that only a main thread may
use; in a worker none of this matters, and any thread may call, in a daemonic process (multiprocessing's, Ray's) too.
Workers are fresh interpreters that import nothing of echorl. multiprocessing's pools, pebble's included, are not used:
forked ones copy a process that may hold CUDA and threads (pebble's hung at exit), spawned ones run the user's script
again where it has no main guard, and a daemonic process may have neither.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from echorl.tasks.verify import worker
from echorl.tasks.verify.base import Verdict

NUM_WORKERS = min(4, os.cpu_count() or 1)
MEMORY_LIMIT = 2**30
CACHE_SIZE = 20_000


@dataclass(frozen=True)
class Outcome:
    """A call's result; or None, and the reason: "timeout", "memory", "died", "error " and the exception's name."""

    value: Any
    reason: str = ""

    def verdict(self, score: Callable[[Any], float] = float) -> Verdict:
        """The value's score as a verdict."""
        return Verdict(0.0, self.reason) if self.reason else Verdict(float(score(self.value)))


class Pool:
    """Workers that have imported one package and take calls of the functions in `worker.py` that need it.

    They start with the first calls, and end with `close()` or this process, however it ends.
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
            num_workers: calls at the same time, 1 or more.
            memory_limit: bytes that a worker may take beyond what it starts with (Linux only).
            cache_size: results that are kept, the last used ones, for calls that come again.
        """
        if num_workers < 1:
            raise ValueError(f"num_workers {num_workers} can grade nothing; give 1 or more")
        self.num_workers = num_workers
        self._package = package
        self._memory_limit = memory_limit
        self._cache_size = cache_size
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Outcome] = OrderedDict()
        self._all = [Worker(self._package, memory_limit=self._memory_limit) for _ in range(self.num_workers)]
        self._free: queue.LifoQueue[Worker] = queue.LifoQueue()
        for one in reversed(self._all):
            self._free.put(one)

    def call_each(self, function: str, rows: Sequence[Sequence[Any]], *, timeout: float) -> list[Outcome]:
        """`function(*row)` for each row, in order; equal rows are called once.

        A call that takes over `timeout` seconds, counted from when a free worker has started, ends with its worker; so
        does one that takes too much memory. Results and errors are kept for the next time, time-outs and deaths are
        tried again. Arguments and results are what JSON can hold.
        """
        requests = [json.dumps({"function": function, "arguments": list(row), "limit": 2 * timeout}) for row in rows]
        distinct = list(dict.fromkeys(requests))
        outcomes = self._recall(distinct)
        asked = [request for request in distinct if request not in outcomes]
        outcomes |= zip(asked, self._call_all(asked, timeout), strict=True)
        return [outcomes[request] for request in requests]

    def close(self) -> None:
        """End the workers, those that work too; the next call starts new ones."""
        for one in self._all:
            one.end()

    def _call_all(self, requests: list[str], timeout: float) -> list[Outcome]:
        if len(requests) < 2:
            return [self._call(request, timeout) for request in requests]
        with ThreadPoolExecutor(min(self.num_workers, len(requests))) as threads:
            return list(threads.map(lambda request: self._call(request, timeout), requests))

    def _call(self, request: str, timeout: float) -> Outcome:
        free = self._free.get()
        try:
            outcome = free.call(request, timeout=timeout)
        finally:
            self._free.put(free)
        if not outcome.reason or outcome.reason.startswith("error "):
            self._remember(request, outcome)
        return outcome

    def _recall(self, requests: list[str]) -> dict[str, Outcome]:
        with self._lock:
            found = {request: self._known[request] for request in requests if request in self._known}
            for request in found:
                self._known.move_to_end(request)
        return found

    def _remember(self, request: str, outcome: Outcome) -> None:
        with self._lock:
            self._known[request] = outcome
            while len(self._known) > self._cache_size:
                self._known.popitem(last=False)


class Worker:
    """One process; a new one takes its place after a death. One caller at a time."""

    def __init__(self, package: str, *, memory_limit: int = MEMORY_LIMIT) -> None:
        self._command = [sys.executable, worker.__file__, package, str(memory_limit)]
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, request: str, *, timeout: float) -> Outcome:
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._process = _start(self._command)
        process, late = self._process, threading.Event()
        timer = threading.Timer(timeout, _kill_late, (process, late))
        timer.daemon = True
        timer.start()
        line = _exchange(process, request)
        timer.cancel()
        timer.join()  # after this no kill can hit a later call's work
        if not line.endswith(b"\n"):
            self.end()
            return Outcome(None, "timeout" if late.is_set() else "died")
        reply = json.loads(line)
        if late.is_set() or reply["last"]:
            self.end()
        return Outcome(reply["result"], reply["reason"])

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def _kill_late(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """A worker that has imported what it needs; RuntimeError with its last words if it can't."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    if process.stdout.readline().strip() != b"ready":
        words = process.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"a grader process did not start (is 'echorl[tasks]' installed?): {words[-500:]}")
    return process


def _exchange(process: subprocess.Popen[bytes], request: str) -> bytes:
    """The worker's reply; without a newline at its end if it died.

    The request goes past the pipe's buffer: after a fork in another thread nothing in it could be sent twice.
    """
    rest = memoryview(request.encode() + b"\n")
    try:
        while rest:
            rest = rest[os.write(process.stdin.fileno(), rest) :]
        return process.stdout.readline()
    except (OSError, ValueError):  # it died, or `close` closed its pipes
        return b""


@cache
def shared_pool(package: str) -> Pool:
    """The pool that all graders of this process share unless they are given one of their own."""
    return Pool(package)


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _begin_again() -> None:
    """A forked child must not talk through its parent's pipes: it starts workers of its own."""
    for pool in _POOLS:
        pool._begin()


def _close_all() -> None:
    for pool in list(_POOLS):
        pool.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
