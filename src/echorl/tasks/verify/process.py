"""One worker process: gets requests, is watched, and is killed when it is late."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from echorl.support.installed import check_installed
from echorl.tasks.verify import worker
from echorl.tasks.verify.base import Verdict
from echorl.tasks.verify.start import Started, pipes, start
from echorl.tasks.verify.watch import Watch

MEMORY_LIMIT = 2**30
WALL_FACTOR = 20 if hasattr(signal, "setitimer") else 1
"""Ratio of a call's limits of wall time and CPU time. The former ends a call that sleeps, or a stopped worker.

A system without a timer of CPU time (Windows) has the limit of wall time alone.
"""
SCRIPT = os.path.abspath(worker.__file__)


@dataclass(frozen=True)
class Outcome:
    """A call's result, or None and the reason: "timeout", "memory", "died", "tampered" or "error NAME"."""

    value: Any
    reason: str = ""

    def verdict(self, score: Callable[[Any], float] = float) -> Verdict:
        """The verdict with the value's score, or with 0 and the reason."""
        return Verdict(0.0, self.reason) if self.reason else Verdict(float(score(self.value)))


class Worker:
    """A process for one caller at a time; after its death a new process takes its place."""

    def __init__(self, package: str, *, memory_limit: int = MEMORY_LIMIT) -> None:
        self._package = package
        self._command = [sys.executable, SCRIPT, package, str(memory_limit)]
        self._started: Started | None = None

    def call_each(self, requests: Iterable[str], *, timeout: float) -> Iterator[tuple[str, Outcome]]:
        """Yield each request with its outcome, one after another; stop after an outcome that ended the process.

        `timeout` is the limit of CPU time in the requests. A request is taken from `requests` when the previous one
        has its outcome.
        """
        process = self._running()
        watch = Watch(process, WALL_FACTOR * timeout)
        is_over = True  # an interrupted call may leave a reply in the pipe
        try:
            for request in requests:
                watch.next()
                reply = _ask(process, request) or {"result": None, "reason": _why_ended(process, watch), "last": True}
                yield request, Outcome(reply["result"], reply["reason"])
                if reply["last"] or watch.is_late:
                    return
            is_over = False
        finally:
            watch.end()  # from here no kill can hit a later call
            if is_over or watch.is_late:
                self.end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._started is None or self._started.process.poll() is not None:
            self.end()
            check_installed("grading", (self._package,), "tasks")
            self._started = start([*self._command, str(os.getpid())])
        return self._started.process

    def end(self) -> None:
        """End the process, if there is one."""
        started, self._started = self._started, None
        if started is not None:
            started.end()


def _ask(process: subprocess.Popen[bytes], request: str) -> dict[str, Any] | None:
    """Return the reply to a request; None if the process has ended.

    The reply repeats a token, which an answer that writes to the pipe does not know.
    """
    token = secrets.token_hex(8)
    unsent = memoryview(f"{token} {request}\n".encode())
    stdin, stdout, _ = pipes(process)
    try:
        while unsent:  # without the pipe's buffer, which a fork in another thread would copy and send twice
            unsent = unsent[os.write(stdin.fileno(), unsent) :]
        line = stdout.readline()
    except (OSError, ValueError):  # it died, or `close` closed its pipes
        return None
    if not line.endswith(b"\n"):
        return None
    reply_token, _, reply = line.partition(b" ")
    return json.loads(reply) if reply_token == token.encode() else {"result": None, "reason": "tampered", "last": True}


def _why_ended(process: subprocess.Popen[bytes], watch: Watch) -> str:
    process.kill()  # it may only have closed its pipe; a process that has ended keeps its status
    by_cpu_limit = process.wait() in worker.LATE
    return "timeout" if watch.is_late or by_cpu_limit else "died"
