"""One worker process: sent requests, watched, killed when it is late."""

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
"""A call's limit of wall time over its limit of CPU time: for a call that sleeps, or a worker that was stopped.

Where the system has no timer of CPU time (Windows), there is the limit of wall time alone.
"""
PAUSE, MANY = 0.001, 16
"""Seconds between two looks for replies while this many are due: to wake the caller for each slows the worker down."""
TOKEN_CHARS = 16
SCRIPT = os.path.abspath(worker.__file__)


@dataclass(frozen=True)
class Outcome:
    """A call's result; or None, and the reason: "timeout", "memory", "died", "tampered", "error NAME"."""

    value: Any
    reason: str = ""

    def verdict(self, score: Callable[[Any], float] = float) -> Verdict:
        """The value's score as a verdict."""
        return Verdict(0.0, self.reason) if self.reason else Verdict(float(score(self.value)))


class Worker:
    """One process; a new one takes its place after a death. One caller at a time."""

    def __init__(self, package: str, *, memory_limit: int = MEMORY_LIMIT) -> None:
        self._package = package
        self._command = [sys.executable, SCRIPT, package, str(memory_limit)]
        self._started: Started | None = None

    def call_each(self, requests: Sequence[str], *, timeout: float) -> list[Outcome]:
        """Outcomes in order, at least one; fewer than requests if the last of them ended the process.

        `timeout` is the limit of CPU time that the requests name.
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
            watch.end()  # after this no kill can hit a later call's work
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
        started, self._started = self._started, None
        if started is not None:
            started.end()


def _draw_tokens(count: int) -> list[str]:
    """A number for each request, which its reply repeats: an answer that writes to the pipe does not know it."""
    digits = secrets.token_hex(count * TOKEN_CHARS // 2)
    return [digits[i : i + TOKEN_CHARS] for i in range(0, len(digits), TOKEN_CHARS)]


def _send(process: subprocess.Popen[bytes], lines: Sequence[str]) -> None:
    """Past the pipe's buffer: after a fork in another thread nothing in it could be sent twice."""
    rest = memoryview("".join(lines).encode())
    with suppress(OSError, ValueError):  # it died, or `close` closed its pipes: there will be no reply
        while rest:
            rest = rest[os.write(pipes(process)[0].fileno(), rest) :]


def _why_ended(process: subprocess.Popen[bytes], watch: Watch) -> str:
    process.kill()  # it may have closed its pipe only; the status of one that has ended stays
    by_cpu_limit = process.wait() in worker.LATE
    return "timeout" if watch.is_late or by_cpu_limit else "died"


class _Replies:
    """What a process answers, in order; a look takes all that has come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert isinstance(process.stdout, io.BufferedReader)  # as of every pipe of a Popen of bytes
        self._pipe = process.stdout
        self._lines: deque[bytes] = deque()
        self._begun = b""

    def next(self, token: str, pause: float) -> dict[str, Any] | None:
        """The reply to the request with this token; None if the process died."""
        while not self._lines:
            if pause:
                time.sleep(pause)
            if not (found := self._look()):
                return None
            *lines, self._begun = (self._begun + found).split(b"\n")
            self._lines.extend(lines)
        given, _, reply = self._lines.popleft().partition(b" ")
        if given != token.encode():
            return {"result": None, "reason": "tampered", "last": True}
        return _read(reply)

    def _look(self) -> bytes:
        with suppress(OSError, ValueError):  # `close` closed the pipe
            return self._pipe.read1(2**16)
        return b""


@lru_cache(maxsize=64)
def _read(line: bytes) -> dict[str, Any]:
    """Most replies are one of two, and nobody changes them."""
    return json.loads(line)
