"""A limit of wall time on a worker process."""

from __future__ import annotations

import subprocess
from threading import Event, Thread

LOOKS = 20


class Watch:
    """A thread that kills the process if `next` is not called for `seconds` of wall time.

    The time is counted as `LOOKS` short waits. A long stop of this process itself counts as a single wait, so that the
    worker still has time to answer.

    Attributes:
        is_late: True if the process was killed.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.is_late = False
        self._process, self._pause = process, seconds / LOOKS
        self._calls = 0
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def next(self) -> None:
        """Start the count again."""
        self._calls += 1

    def end(self) -> None:
        """Stop the thread; the process is not killed after this returns."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        looks, calls = 0, 0
        while looks < LOOKS:
            if self._over.wait(self._pause):
                return
            looks, calls = (looks + 1, calls) if self._calls == calls else (0, self._calls)
        self.is_late = True
        self._process.kill()
