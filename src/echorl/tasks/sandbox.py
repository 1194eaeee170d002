"""Grader calls with a hard time limit, each in a worker process that is killed when its time is up.

Graders that read text as mathematics can run for ever, take all memory, or use signals that only a main thread may
use; in a worker none of this matters, and any thread may call. Workers are fresh interpreters: nothing is forked from a
process that may hold CUDA and threads, and the user's script is not run again. They start with the first call.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any

from echorl.tasks import graders

NUM_WORKERS = min(4, os.cpu_count() or 1)


def call_each(grader: str, rows: Sequence[Sequence[Any]], *, timeout: float) -> list[Any]:
    """`grader(*row)` for each row, in workers; None where it raises, dies or takes over `timeout` seconds.

    The clock starts when a worker is ready and free. Arguments and results are what JSON can hold.
    """
    if not rows:
        return []
    with _lock:
        workers = _workers(grader)
    with ThreadPoolExecutor(min(NUM_WORKERS, len(rows))) as threads:
        return list(threads.map(lambda row: _call(workers, row, timeout), rows))


def _call(workers: queue.LifoQueue[Worker], row: Sequence[Any], timeout: float) -> Any:
    free = workers.get()
    try:
        return free.call(row, timeout=timeout)
    finally:
        workers.put(free)


class Worker:
    """One process for one grader; a new one takes its place after a death. One caller at a time."""

    def __init__(self, grader: str) -> None:
        self._grader = grader
        self._process: subprocess.Popen[str] | None = None

    def call(self, arguments: Sequence[Any], *, timeout: float) -> Any:
        """The result; None where the grader raises, dies or is late."""
        if self._process is None or self._process.poll() is not None:
            self._process = _start(self._grader)
        timer = threading.Timer(timeout, self._process.kill)
        timer.daemon = True
        timer.start()
        line = _exchange(self._process, json.dumps({"arguments": list(arguments), "limit": 2 * timeout}))
        timer.cancel()
        timer.join()  # after this no kill can hit a later call's work
        if line.endswith("\n"):
            return json.loads(line).get("result")
        _end(self._process)
        self._process = None
        return None


def _start(grader: str) -> subprocess.Popen[str]:
    """A worker that has imported what it needs; RuntimeError with its last words if it can't."""
    command = [sys.executable, graders.__file__, grader]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8")
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"the grader process {grader!r} did not start: {process.communicate()[1][-500:]}")
    return process


def _exchange(process: subprocess.Popen[str], line: str) -> str:
    """The worker's reply to a line; "" if it died."""
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except OSError:
        return ""
    return process.stdout.readline()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # an unsent line can't be flushed any more
            pipe.close()


@cache
def _workers(grader: str) -> queue.LifoQueue[Worker]:
    workers: queue.LifoQueue[Worker] = queue.LifoQueue()
    for _ in range(NUM_WORKERS):
        workers.put(Worker(grader))
    return workers


_lock = threading.Lock()


def _forget_workers() -> None:
    """A forked child must not talk through its parent's pipes: it starts workers of its own."""
    global _lock
    _lock = threading.Lock()
    _workers.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
