"""Start of worker processes: from one thread, in an empty folder, with a small environment."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import site
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import IO, Any

from echorl.tasks.verify.watch import Watch

ATTEMPTS = 3
START_SECONDS = 300.0
"""Wall time after which a worker that is not ready counts as dead. It may be stopped, or its files unreadable."""

PASSED_ON = frozenset(
    {
        *("LANG", "LANGUAGE", "TZ", "LD_PRELOAD", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "PATHEXT"),
        *("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYTHONNOUSERSITE"),
        *("PYTHONHASHSEED", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
        *("VECLIB_MAXIMUM_THREADS", "SYMPY_GROUND_TYPES", "SYMPY_USE_CACHE", "SYMPY_CACHE_SIZE"),
    }
)
"""Environment variables that a worker gets, besides LC_* and those below: no tokens, keys or proxies."""
SEARCH_PATHS = ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
HOME_VARIABLES = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP")


@dataclass(frozen=True)
class Started:
    """A worker process and its folder, which is removed when the worker is ready, so that no call can write there."""

    process: subprocess.Popen[bytes]
    folder: str

    def end(self) -> int:
        """Kill the process and return its exit status; a process that has already ended keeps its status."""
        self.process.kill()
        status = self.process.wait()
        for pipe in pipes(self.process):
            pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        return status


def pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """The worker's standard input, output and error."""
    pipes = (process.stdin, process.stdout, process.stderr)  # `_launch` asks for all three
    stdin, stdout, stderr = (pipe for pipe in pipes if pipe is not None)
    return stdin, stdout, stderr


def start(command: Sequence[str]) -> Started:
    """Start a worker and wait until it has imported its package; try again, up to `ATTEMPTS` times, if it dies.

    Raises:
        RuntimeError: no attempt succeeded; the message says how the last one ended.
    """
    for _ in range(ATTEMPTS):
        started = _launch(command)
        watch = Watch(started.process, START_SECONDS)
        try:
            if pipes(started.process)[1].readline().strip() == b"ready":
                shutil.rmtree(started.folder, ignore_errors=True)  # Windows keeps it until the worker ends
                return started
            end = _end_of(started, watch)
        except BaseException:
            started.end()
            raise
        finally:
            watch.end()
    raise RuntimeError(f"a grader process did not start in {ATTEMPTS} attempts; the last one {end}")


def _end_of(started: Started, watch: Watch) -> str:
    started.process.kill()  # it may only have closed its pipe
    last_line = pipes(started.process)[2].read().decode(errors="replace").strip().rpartition("\n")[2][-500:]
    status = started.end()
    if watch.is_late:
        return f"was not ready after {START_SECONDS:g} s"
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    return f"{how}: {last_line}" if last_line else how


def _launch(command: Sequence[str]) -> Started:
    folder = tempfile.mkdtemp(prefix="echorl-grader-")
    pipe = subprocess.PIPE
    options = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "cwd": folder}
    try:
        process = _start_process(command, {**options, "env": worker_environment(os.environ, folder)})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Started(process, folder)


def worker_environment(environment: Mapping[str, str], folder: str) -> dict[str, str]:
    """The environment of a worker: the variables by which Python finds its packages, and `folder` as its home."""
    passed_on = {name: value for name, value in environment.items() if name in PASSED_ON or name.startswith("LC_")}
    for name in SEARCH_PATHS:
        if value := environment.get(name):
            passed_on[name] = os.pathsep.join(map(os.path.abspath, value.split(os.pathsep)))
    user_packages = {"PYTHONUSERBASE": site.getuserbase()}  # without it Python would look for them in the new home
    return passed_on | dict.fromkeys(HOME_VARIABLES, folder) | user_packages


def _start_process(command: Sequence[str], options: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    started: Future[subprocess.Popen[bytes]] = Future()
    _ORDERS.put((started, command, options))
    try:
        return started.result()
    except BaseException:  # Ctrl-C: the caller will not take the new process
        started.add_done_callback(_abandon)
        raise


def _abandon(started: Future[subprocess.Popen[bytes]]) -> None:
    if started.exception() is None:
        started.result().kill()


def _start_all(orders: queue.SimpleQueue[Order]) -> None:
    while True:
        _answer(*orders.get())  # which keeps nothing: the last worker's pipes would stay open


def _answer(started: Future[Any], command: Sequence[str], options: Mapping[str, Any]) -> None:
    try:
        started.set_result(subprocess.Popen(command, **options))
    except BaseException as error:
        started.set_exception(error)


def _make_starter() -> None:
    """Make the thread that starts all workers; a forked child makes its own, as it lacks its parent's threads.

    A worker asks Linux to end it with its parent. Linux takes the thread that started the worker for the parent, so
    this thread must not end before the process: not after a call, and not when the main thread has ended, as the
    threads of an executor do.
    """
    global _ORDERS
    _ORDERS = queue.SimpleQueue()
    threading.Thread(target=_start_all, args=(_ORDERS,), name="echorl-grader-starter", daemon=True).start()


Order = tuple[Future[subprocess.Popen[bytes]], Sequence[str], Mapping[str, Any]]
_ORDERS: queue.SimpleQueue[Order]
_make_starter()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_make_starter)
