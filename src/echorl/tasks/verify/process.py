"""One worker process: started, sent requests, watched, killed when it is late."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from echorl.installed import check_installed
from echorl.tasks.verify import worker
from echorl.tasks.verify.base import Verdict

MEMORY_LIMIT = 2**30
PAUSE, MANY = 0.001, 16
"""Seconds between two looks for replies while this many are due: to wake the caller for each slows the worker down."""


@dataclass(frozen=True)
class Outcome:
    """A call's result; or None, and the reason: "timeout", "memory", "died", "error " and the exception's name."""

    value: Any
    reason: str = ""

    def verdict(self, score: Callable[[Any], float] = float) -> Verdict:
        """The value's score as a verdict."""
        return Verdict(0.0, self.reason) if self.reason else Verdict(float(score(self.value)))


class Worker:
    """One process; a new one takes its place after a death. One caller at a time."""

    def __init__(self, package: str, *, memory_limit: int = MEMORY_LIMIT) -> None:
        self._package = package
        self._command = [sys.executable, worker.__file__, package, str(memory_limit)]
        self._process: subprocess.Popen[bytes] | None = None

    def call_each(self, requests: Sequence[str], *, timeout: float) -> list[Outcome]:
        """Outcomes in order, at least one; fewer than requests if the last of them ended the process."""
        process = self._running()
        watch = _Watch(process, timeout)
        replies = _Replies(process)
        outcomes: list[Outcome] = []
        last = False
        try:
            _send(process, requests)
            while len(outcomes) < len(requests) and not last:
                reply = replies.next(PAUSE if len(requests) - len(outcomes) >= MANY else 0)
                watch.next()
                if reply is None:
                    reply = {"result": None, "reason": "timeout" if watch.is_late else "died", "last": True}
                outcomes.append(Outcome(reply["result"], reply["reason"]))
                last = reply["last"]
        finally:
            watch.end()  # after this no kill can hit a later call's work
            if last or watch.is_late or len(outcomes) < len(requests):  # or Ctrl-C left replies in the pipe
                self.end()
        return outcomes

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.end()
            check_installed("grading", (self._package,), "tasks")
            self._process = _start(self._command)
        return self._process

    def end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


class _Watch:
    """Kills the process if `next` is not called for `timeout` seconds."""

    def __init__(self, process: subprocess.Popen[bytes], timeout: float) -> None:
        self.is_late = False
        self._process, self._timeout = process, timeout
        self._over = threading.Event()
        self.next()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def next(self) -> None:
        self._deadline = time.monotonic() + self._timeout

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while (rest := self._deadline - time.monotonic()) > 0:
            if self._over.wait(rest):
                return
        self.is_late = True
        self._process.kill()


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    """A worker that has imported what it needs; RuntimeError with its last words if it can't."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    if process.stdout.readline().strip() != b"ready":
        words = process.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"a grader process did not start: {words[-500:]}")
    return process


def _send(process: subprocess.Popen[bytes], requests: Sequence[str]) -> None:
    """Past the pipe's buffer: after a fork in another thread nothing in it could be sent twice."""
    rest = memoryview("".join(f"{request}\n" for request in requests).encode())
    with suppress(OSError, ValueError):  # it died, or `close` closed its pipes: there will be no reply
        while rest:
            rest = rest[os.write(process.stdin.fileno(), rest) :]


class _Replies:
    """What a process answers, in order; a look takes all that has come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._pipe = process.stdout
        self._lines: deque[bytes] = deque()
        self._begun = b""

    def next(self, pause: float) -> dict[str, Any] | None:
        """None if the process died."""
        while not self._lines:
            if pause:
                time.sleep(pause)
            if not (found := self._look()):
                return None
            *lines, self._begun = (self._begun + found).split(b"\n")
            self._lines.extend(lines)
        return _read(self._lines.popleft())

    def _look(self) -> bytes:
        with suppress(OSError, ValueError):  # `close` closed the pipe
            return self._pipe.read1(2**16)
        return b""


@lru_cache(maxsize=64)
def _read(line: bytes) -> dict[str, Any]:
    """Most replies are one of two, and nobody changes them."""
    return json.loads(line)
