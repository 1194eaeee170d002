"""One worker process: gets requests, is watched, and is killed when it is late."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
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
PAUSE, MANY = 0.001, 16
"""Seconds between two reads while so many replies are due; a read for each reply would slow the worker down."""
TOKEN_CHARS = 16
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

    def call_each(self, requests: Sequence[str], *, timeout: float) -> list[Outcome]:
        """Outcomes in order, at least one; fewer than requests if the last outcome's call ended the process.

        `timeout` is the limit of CPU time in the requests.
        """
        process = self._running()
        tokens = _draw_tokens(len(requests))
        watch = Watch(process, WALL_FACTOR * timeout)
        replies = _Replies(process)
        outcomes: list[Outcome] = []
        last = False
        try:
            _send(process, [f"{token} {request}\n" for token, request in zip(tokens, requests, strict=True)])
            while len(outcomes) < len(requests) and not last:
                reply = replies.next(tokens[len(outcomes)], PAUSE if len(requests) - len(outcomes) >= MANY else 0)
                watch.next()
                if reply is None:
                    reply = {"result": None, "reason": _why_ended(process, watch), "last": True}
                outcomes.append(Outcome(reply["result"], reply["reason"]))
                last = reply["last"]
        finally:
            watch.end()  # from here no kill can hit a later call
            if last or watch.is_late or len(outcomes) < len(requests):  # or Ctrl-C left replies in the pipe
                self.end()
        return outcomes

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


def _draw_tokens(count: int) -> list[str]:
    """A secret for each request, which its reply repeats, so that an answer cannot forge a reply."""
    digits = secrets.token_hex(count * TOKEN_CHARS // 2)
    return [digits[i : i + TOKEN_CHARS] for i in range(0, len(digits), TOKEN_CHARS)]


def _send(process: subprocess.Popen[bytes], lines: Sequence[str]) -> None:
    """Write the lines without the pipe's buffer, which a fork in another thread would copy and send twice."""
    unsent = memoryview("".join(lines).encode())
    with suppress(OSError, ValueError):  # it died, or `close` closed its pipes: there will be no reply
        while unsent:
            unsent = unsent[os.write(pipes(process)[0].fileno(), unsent) :]


def _why_ended(process: subprocess.Popen[bytes], watch: Watch) -> str:
    process.kill()  # it may only have closed its pipe; a process that has ended keeps its status
    by_cpu_limit = process.wait() in worker.LATE
    return "timeout" if watch.is_late or by_cpu_limit else "died"


class _Replies:
    """Replies of a process, in order; each read takes all replies that have arrived."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert isinstance(process.stdout, io.BufferedReader)  # as of every pipe of a Popen of bytes
        self._pipe = process.stdout
        self._lines: deque[bytes] = deque()
        self._partial_line = b""

    def next(self, token: str, pause: float) -> dict[str, Any] | None:
        """The reply to the request with this token; None if the process died."""
        while not self._lines:
            if pause:
                time.sleep(pause)
            if not (data := self._read_pipe()):
                return None
            *lines, self._partial_line = (self._partial_line + data).split(b"\n")
            self._lines.extend(lines)
        reply_token, _, reply = self._lines.popleft().partition(b" ")
        if reply_token != token.encode():
            return {"result": None, "reason": "tampered", "last": True}
        return _parsed(reply)

    def _read_pipe(self) -> bytes:
        with suppress(OSError, ValueError):  # `close` closed the pipe
            return self._pipe.read1(2**16)
        return b""


@lru_cache(maxsize=64)
def _parsed(line: bytes) -> dict[str, Any]:
    """The reply, from a cache: most replies are one of two, and no caller changes them."""
    return json.loads(line)
