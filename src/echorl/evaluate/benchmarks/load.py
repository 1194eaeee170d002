"""A benchmark by its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from echorl.evaluate.benchmarks.base import Benchmark
from echorl.evaluate.benchmarks.of_tasks import TaskBenchmark
from echorl.evaluate.benchmarks.registry import BENCHMARKS
from echorl.quickstart import TASK as QUICKSTART
from echorl.tasks import TASKS, load_task
from echorl.tasks.reasoning_gym import generators


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name in `BENCHMARKS`; else a task's as "TASK" (its split "test") or "TASK:SPLIT".

    A task is "quickstart", one of `echorl.tasks.TASKS` with its default options, or a dataset of reasoning-gym.

    Raises:
        ValueError: no such benchmark (close names are suggested) or split.

    >>> load_benchmark("aime24").samples, load_benchmark("word_problems:harder").split
    (32, 'harder')
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    kind, _, split = name.partition(":")
    options = _task_options(kind)
    if options is None:
        raise ValueError(f"unknown benchmark {name!r}{_suggest(kind)}")
    task = load_task(**options)
    split = split or "test"
    if split not in task.splits:
        raise ValueError(
            f"benchmark {name!r}: no split {split!r}; give one of {', '.join(f'{kind}:{s}' for s in task.splits)}"
        )
    return TaskBenchmark(name=name, title=name, grader=options["name"], source="made by echorl", task=task, split=split)


def _task_options(kind: str) -> Mapping[str, Any] | None:
    """Options of `load_task` for a task's name; None: there is none."""
    if kind == "quickstart":
        return QUICKSTART
    if kind in TASKS:
        return {"name": kind}
    return {"name": "reasoning_gym", "generator": kind} if kind in generators() else None


def _suggest(kind: str) -> str:
    """What else there is: close names of any kind, and the registry."""
    names = [*BENCHMARKS, "quickstart", *TASKS, *generators()]
    close = difflib.get_close_matches(kind.lower().replace("-", "_"), names, n=3)
    meant = f" (did you mean {' or '.join(close)}?)" if close else ""
    return (
        f"{meant}; choose one of {', '.join(BENCHMARKS)}, or a task as TASK or TASK:SPLIT: "
        f"quickstart, {', '.join(TASKS)}, or any dataset of reasoning-gym"
    )
