"""Python modules run in processes side by side, watched until they end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.5
QUIET = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}


class View(Protocol):
    """Shows how far work is."""

    def begin(self, text: str, total: int) -> Callable[[int], None]:
        """A piece of work begins; the result is called with the number of its parts done."""


class Silent:
    """Shows nothing."""

    def begin(self, text: str, total: int) -> Callable[[int], None]:
        return lambda done: None


@dataclass(frozen=True)
class Job:
    """`python -m MODULE ARGUMENT ... PARENT`, which should call `end_with_parent(PARENT)` first.

    Attributes:
        text: what it does, as shown beside its bar.
        name: what it is, as named if it fails.
        log: what it prints; removed when it succeeds.
        total: parts of its work, of which `done` tells how many are done.
    """

    text: str
    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    total: int = 1
    done: Callable[[], int] = lambda: 0


def run_jobs(jobs: Iterable[Job], *, parallel: int, threads: int = 1, view: View | None = None) -> None:
    """Run the jobs in order, `parallel` at a time with `threads` CPU threads each; return when all are done.

    An exception (Ctrl-C too) ends those that run.

    Raises:
        RuntimeError: a job failed; the message holds the last line that it wrote.
    """
    waiting, running = list(reversed(list(jobs))), {}
    view = view or Silent()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job = waiting.pop()
                running[job] = (_start(job, threads), view.begin(job.text, job.total))
            time.sleep(POLL_SECONDS)
            for job, (process, bar) in list(running.items()):
                if _is_done(job, process, bar):
                    del running[job]
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.wait()


def _start(job: Job, threads: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", job.module, *job.arguments, str(os.getpid())]
    environment = {**os.environ, **QUIET, "OMP_NUM_THREADS": str(threads)}
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        # A session of its own: Ctrl-C comes to the parent alone, which then ends its jobs.
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _is_done(job: Job, process: subprocess.Popen[bytes], bar: Callable[[int], None]) -> bool:
    code = process.poll()
    bar(job.total if code == 0 else min(job.total, job.done()))
    if code is None:
        return False
    if code:
        raise RuntimeError(f"{job.name} failed (exit code {code}): {_last_words(job.log)}")
    job.log.unlink()
    return True


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1] if lines else 'no output'} (all of it: {log})"


def end_with_parent(parent: int) -> None:
    """From now on, end this process soon after `parent` is no longer its parent (it was killed)."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
