"""Evaluations in processes that are killed; imported by a fork server, so that each attempt starts at once."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.evaluate.fakes import run, work


def killed(target: Callable[..., None], *args: Any, times: int, longest: float, folder: Path) -> int:
    """Start `target` and kill it at a random moment, `times` times, then let it end.

    Returns how many attempts were killed. A chunk's file that is there may vanish, but is never written again.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.evaluate.kills", "transformers.models.llama.modeling_llama"])
    rng, seen, kills = random.Random(0), {}, 0
    for attempt in range(times + 1):
        process = processes.Process(target=target, args=args)
        process.start()
        process.join(rng.uniform(0, longest) if attempt < times else None)
        kills += process.is_alive()
        process.kill()
        process.join()
        now = {path: path.stat().st_mtime_ns for path in folder.glob("parts/*/*.parquet")}
        assert all(now[path] == when for path, when in seen.items() if path in now)
        seen = {**seen, **now}
    assert process.exitcode == 0
    return kills


def scripted(folder: Path, log: Path) -> None:
    """Twelve slow chunks, slowly scored."""
    from echorl.evaluate import grading

    grading.SLICE = 8
    run(folder, work(size=12, seconds=0.02), log=log, seconds=0.03)


def command(argv: list[str], log: Path) -> None:
    """`echorl eval`, with its output in a file."""
    from echorl.cli import main

    os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    torch.set_num_threads(1)
    with log.open("a") as file:
        sys.stdout = sys.stderr = file
        code = main(argv)
    os._exit(code)
