"""Python modules that run in processes side by side and are watched until they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from echorl.support.errors import UserError

POLL_SECONDS = 0.5
QUIET = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}


class View(Protocol):
    """Shows the progress of work."""

    def begin(
        self, text: str, total: int | None, done: int = 0, note: Callable[[], str] = lambda: ""
    ) -> Callable[[int], None]:
        """Begin a piece of work of `total` parts (None: unknown); the result takes the number of parts done.

        Args:
            done: parts that an earlier session has done.
            note: returns a few words on how the work stands, to be shown beside its progress.
        """

    def say(self, text: str) -> None:
        """Show a sentence."""


class Silent:
    """Shows nothing."""

    def begin(
        self, text: str, total: int | None, done: int = 0, note: Callable[[], str] = lambda: ""
    ) -> Callable[[int], None]:
        return lambda done: None

    def say(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class Job:
    """`python -m MODULE ARGUMENT ... PARENT`, which should call `end_with_parent(PARENT)` first.

    Attributes:
        text: the text beside its bar.
        name: its name in the message if it fails.
        log: the file of its output; removed when it succeeds.
        total, done: the parts of its work, and a function that returns how many are done.
        resumed: the parts that an earlier session has done.
        note: a function that returns a few words on how its work stands.
    """

    text: str
    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    total: int = 1
    done: Callable[[], int] = lambda: 0
    resumed: int = 0
    note: Callable[[], str] = lambda: ""


class JobsFailed(UserError):
    """Jobs ended with an error; the message holds the last line that each of them wrote."""


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    advance: Callable[[int], None]
    gpu: str | None


def run_jobs(
    jobs: Iterable[Job], *, parallel: int, threads: int = 1, gpus: Sequence[str] = (), view: View | None = None
) -> None:
    """Run the jobs in order, `parallel` at a time with `threads` CPU threads each; return when all have ended.

    Each job sees one of the `gpus`, the one with the fewest jobs. An exception (Ctrl-C too) ends the running jobs;
    after a failure of one job the others go on.

    Raises:
        JobsFailed: any job failed.
    """
    waiting, view = deque(jobs), view or Silent()
    running: list[_Running] = []
    failures: list[str] = []
    num_jobs = len(waiting)
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job, gpu = waiting.popleft(), least_busy(gpus, [each.gpu for each in running])
                advance = view.begin(job.text, job.total, job.resumed, job.note)
                running.append(_Running(job, _start(job, threads, gpu), advance, gpu))
            time.sleep(POLL_SECONDS)
            num_failures = len(failures)
            running = [each for each in running if not _is_over(each, failures)]
            if running or waiting:
                for failure in failures[num_failures:]:
                    view.say(f"{failure}; the others go on.")
    finally:
        for each in running:
            each.process.terminate()
        for each in running:
            each.process.wait()
    if failures:
        head = f"{len(failures)} of {num_jobs} failed: " if num_jobs > 1 else ""
        raise JobsFailed(head + "; ".join(failures))


def least_busy(gpus: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """Return the first of the GPUs with the fewest jobs; None without GPUs.

    >>> least_busy(["0", "1"], ["0"]), least_busy(["0", "1"], ["0", "1"]), least_busy([], [])
    ('1', '0', None)
    """
    return min(gpus, key=list(taken).count, default=None)


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without loading CUDA."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is not None:
        return [name.strip() for name in names.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:  # no such program: no NVIDIA GPU
        return []
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in listing.stdout.splitlines()))]


def _start(job: Job, threads: int, gpu: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", job.module, *job.arguments, str(os.getpid())]
    environment = {**os.environ, **QUIET, "OMP_NUM_THREADS": str(threads)}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        # In a new session: Ctrl-C comes to the parent alone, which then ends its jobs.
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _is_over(running: _Running, failures: list[str]) -> bool:
    """Show a job's progress, and return whether it has ended; note a failure, else remove the log."""
    job, code = running.job, running.process.poll()
    running.advance(job.total if code == 0 else min(job.total, job.done()))
    if code == 0:
        job.log.unlink()
    elif code is not None:
        failures.append(_failure(job, code))
    return code is not None


def _failure(job: Job, code: int) -> str:
    """Return the end of a job in words: the signal that ended it, or the last line that it wrote."""
    if code < 0:  # its last line is no reason
        return f"{job.name} was ended by signal {-code} ({signal.strsignal(-code)}; its output: {job.log})"
    lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"]
    return f"{job.name} failed (exit code {code}): {lines[-1]} (all of it: {job.log})"


def end_with_parent(parent: int) -> None:
    """End this process soon after `parent` is no longer its parent (it was killed); a thread watches for that."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
