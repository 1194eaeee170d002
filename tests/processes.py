"""Processes for what ends its process, is killed, or needs several: a fork server starts each at once, clean."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from glob import glob
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from echorl.lab import jobs

PRELOAD = ["tests.preloaded"]


def start(target: Callable[..., None], *args: Any) -> Any:
    """Start `target(*args)` in a process that has imported what `tests.preloaded` imports, and nothing else."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOAD)
    process = processes.Process(target=_with_environment, args=(dict(os.environ), target, *args))
    process.start()
    return process


def _with_environment(environment: dict[str, str], target: Callable[..., None], *args: Any) -> None:
    os.environ.clear()  # the server has that of its first call
    os.environ.update(environment)
    target(*args)


def whole(target: Callable[..., None], *args: Any) -> None:
    """Start `target` and let it end."""
    process = start(target, *args)
    process.join()
    assert process.exitcode == 0


def command(argv: list[str], log: Path, stop_at: str | None = None) -> None:
    """Run `echorl ARGV ...`, with its output in a file; the jobs that it starts are forked.

    A job stops for ever at the next file that it opens once there is a file of the pattern `stop_at`, so that the
    command does not go beyond that point, however late it is killed there.
    """
    from echorl.cli import main

    os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    _write_to(log)
    jobs._start = partial(_fork, stop_at)
    os._exit(main(argv))


def _write_to(log: Path) -> None:
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    for stream in (1, 2):
        os.dup2(sys.stdout.fileno(), stream)


def _fork(stop_at: str | None, job: jobs.Job, threads: int, gpu: str | None) -> Forked:
    """As `echorl.lab.jobs._start`, without the seconds that a new Python needs for its imports."""
    parent = os.getpid()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context("fork").Process(target=_job, args=(stop_at, job, parent))
    process.start()
    return Forked(process)


def _job(stop_at: str | None, job: jobs.Job, parent: int) -> None:
    os.setsid()
    _write_to(job.log)
    if stop_at is not None:
        sys.addaudithook(partial(_stop, stop_at))
    sys.argv = [job.module, *job.arguments, str(parent)]
    runpy.run_module(job.module, run_name="__main__")


def _stop(pattern: str, event: str, arguments: tuple) -> None:
    if event == "open" and threading.current_thread() is threading.main_thread():
        while glob(pattern):
            time.sleep(1)


class Forked:
    """What `echorl.lab.jobs` asks of a process."""

    def __init__(self, process: Any) -> None:
        self.process = process

    def poll(self) -> int | None:
        return self.process.exitcode

    def terminate(self) -> None:
        self.process.terminate()

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode


def run_ranks(target: Callable[..., None], num_processes: int, *args: Any, log: Path) -> None:
    """Run `target(*args)` in processes that find each other as those of torchrun do; all must end well."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = [
        start(_rank, rank, num_processes, store.port, log.with_suffix(f".{rank}"), target, *args)
        for rank in range(num_processes)
    ]
    running = {rank.sentinel: rank for rank in ranks}
    while running:
        for sentinel in wait(list(running)):
            rank = running.pop(sentinel)
            rank.join()
            if rank.exitcode != 0:  # the others would wait for it
                for other in running.values():
                    other.kill()
    texts = [path.read_text()[-3000:] for path in sorted(log.parent.glob(f"{log.stem}.*"))]
    assert [rank.exitcode for rank in ranks] == [0] * num_processes, "\n".join(texts)


def _rank(rank: int, num_processes: int, port: int, log: Path, target: Callable[..., None], *args: Any) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(num_processes),
        LOCAL_WORLD_SIZE=str(num_processes),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        TORCHELASTIC_USE_AGENT_STORE="True",
        OMP_NUM_THREADS="1",
    )
    _write_to(log)
    target(*args)
    torch.distributed.barrier()  # gloo's threads abort a process that leaves without taking leave
    torch.distributed.destroy_process_group()
    os._exit(0)  # now and then they abort it even so, while the interpreter is taken down
