"""Evaluations in processes that are killed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.store import Store
from tests.lab.evaluate.fakes import run, work
from tests.processes import start, whole

TIMES = 10


def killed(target: Callable[..., None], *args: Any, folder: Path, chunks: int, longest: float) -> list[int]:
    """Start `target` and kill it, ten times, then let it end. Returns how many chunks were there after each kill.

    Each kill but the first waits for an eighth of the chunks more than the last one left, so that machines of any speed
    are hit at many stages; then for a random time up to `longest` seconds, ten times that once only the scoring is
    left. A chunk's file that is there may vanish, when all are scored, but is never written again.
    """
    rng, seen, kept, wanted = random.Random(0), {}, [], 0
    for _ in range(TIMES):
        process = start(target, *args)
        only_scoring = len(seen) == chunks
        while process.is_alive() and len(parts(folder)) < wanted:
            time.sleep(0.002)
        process.join(rng.uniform(0, 10 * longest if only_scoring else longest))
        kept += [len(parts(folder))] if process.is_alive() else []
        process.kill()
        process.join()
        now = parts(folder)
        assert all(now[path] == when for path, when in seen.items() if path in now)
        seen = {**seen, **now}
        wanted = min(len(now) + -(-chunks // 8), chunks)
    whole(target, *args)
    return kept


def parts(folder: Path) -> dict[Path, int]:
    """Return when the note of each finished chunk was written, which is after the chunk's file."""
    times = {}
    for path in map(Path, glob(f"{folder}/parts/*/*.key.json")):  # `Path.glob` fails where a folder goes meanwhile
        with suppress(FileNotFoundError):  # all are scored, and the files go
            times[path] = path.stat().st_mtime_ns
    return times


def scripted(folder: Path, log: Path) -> None:
    """Twelve slow chunks, slowly scored."""
    from echorl.lab.evaluate import grading

    grading.SLICE = 8
    with Store(folder).locked():  # as the command does: what killed calls left of scratch files goes
        run(folder, work(size=12, seconds=0.02), log=log, seconds=0.03)
