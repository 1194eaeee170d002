"""A limit of wall time on a worker process."""

from __future__ import annotations

import subprocess
from threading import Event, Thread

LOOKS = 20


class Watch:
    """Kills the process if `next` is not called for `seconds`.

    The time is counted in `LOOKS` waits: one in which this process itself was stopped counts as a single one, so the
    worker can answer before its time is over.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.is_late = False
        self._process, self._pause = process, seconds / LOOKS
        self._calls = 0
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def next(self) -> None:
        """Begin to count anew."""
        self._calls += 1

    def end(self) -> None:
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
