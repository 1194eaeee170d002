"""Python modules run in processes side by side, watched until they end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from echorl.support.errors import UserError

POLL_SECONDS = 0.5
QUIET = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_VERBOSITY": "error"}


class View(Protocol):
    """Shows how far work is."""

    def begin(self, text: str, total: int | None) -> Callable[[int], None]:
        """Begin a piece of work of `total` parts (None: not known); the result takes the number of parts done."""


class Silent:
    """Shows nothing."""

    def begin(self, text: str, total: int | None) -> Callable[[int], None]:
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


class JobsFailed(UserError):
    """Jobs ended with an error; the message holds the last line that each wrote."""


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    bar: Callable[[int], None]
    gpu: str | None


def run_jobs(
    jobs: Iterable[Job], *, parallel: int, threads: int = 1, gpus: Sequence[str] = (), view: View | None = None
) -> None:
    """Run the jobs in order, `parallel` at a time with `threads` CPU threads each; return when all are done.

    Each job sees one of the `gpus`, the one with the fewest jobs. An exception (Ctrl-C too) ends those that run; a job
    that fails doesn't: the others go on.

    Raises:
        JobsFailed: when all are done, if any failed.
    """
    waiting = list(reversed(list(jobs)))
    running: dict[Job, _Running] = {}
    failures: list[str] = []
    num_jobs, view = len(waiting), view or Silent()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                job, gpu = waiting.pop(), least_busy(gpus, [other.gpu for other in running.values()])
                running[job] = _Running(_start(job, threads, gpu), view.begin(job.text, job.total), gpu)
            time.sleep(POLL_SECONDS)
            for job in [job for job, its in running.items() if _is_over(job, its, failures)]:
                del running[job]
    finally:
        for its in running.values():
            its.process.terminate()
        for its in running.values():
            its.process.wait()
    if failures:
        head = f"{len(failures)} of {num_jobs} failed: " if num_jobs > 1 else ""
        raise JobsFailed(head + "; ".join(failures))


def least_busy(gpus: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """The first of the GPUs with the fewest jobs; None without GPUs.

    >>> least_busy(["0", "1"], ["0"]), least_busy(["0", "1"], ["0", "1"]), least_busy([], [])
    ('1', '0', None)
    """
    return min(gpus, key=list(taken).count, default=None)


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; found without loading CUDA."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except OSError:  # no such program: no NVIDIA GPU
        return []
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in listed.stdout.splitlines()))]


def _start(job: Job, threads: int, gpu: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", job.module, *job.arguments, str(os.getpid())]
    environment = {**os.environ, **QUIET, "OMP_NUM_THREADS": str(threads)}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        # A session of its own: Ctrl-C comes to the parent alone, which then ends its jobs.
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _is_over(job: Job, its: _Running, failures: list[str]) -> bool:
    """Show how far it is; note it if it failed, remove its log if it didn't."""
    code = its.process.poll()
    its.bar(job.total if code == 0 else min(job.total, job.done()))
    if code:
        failures.append(f"{job.name} failed (exit code {code}): {_last_words(job.log)}")
    elif code == 0:
        job.log.unlink()
    return code is not None


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
