"""A benchmark by its name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.benchmarks.base import Benchmark
from echorl.lab.evaluate.benchmarks.of_tasks import TaskBenchmark
from echorl.lab.evaluate.benchmarks.registry import BENCHMARKS
from echorl.support.texts import parse_yaml
from echorl.tasks import TASKS, load_task
from echorl.tasks.quickstart import TASK as QUICKSTART
from echorl.tasks.reasoning_gym import generators


def load_benchmark(name: str) -> Benchmark:
    """The benchmark of that name in `BENCHMARKS`; else a task's as "TASK" (its split "test") or "TASK:SPLIT".

    A task is "quickstart", one of `echorl.tasks.TASKS` with its default options, a dataset of reasoning-gym, or that
    of a training recipe with its `task_options`, as "FILE.yaml" or "FILE.yaml:SPLIT" (rows as the task draws them with
    seed 0; the file is a part of the benchmark's name).

    Raises:
        ValueError: no such benchmark (close names are suggested) or split, or a recipe without a task.

    >>> load_benchmark("aime24").samples, load_benchmark("word_problems:harder").split
    (32, 'harder')
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    kind, _, split = name.rpartition(":") if ":" in name else (name, "", "")
    options = _options_in(Path(kind)) if kind.endswith((".yaml", ".yml")) else _task_options(kind)
    if options is None:
        raise ValueError(f"unknown benchmark {name!r}{_suggest(kind)}")
    task = load_task(**options)
    split = split or "test"
    if split not in task.splits:
        raise ValueError(
            f"benchmark {name!r}: no split {split!r}; give one of {', '.join(f'{kind}:{s}' for s in task.splits)}"
        )
    return TaskBenchmark(name=name, title=name, grader=options["name"], source="made by echorl", task=task, split=split)


def _options_in(recipe: Path) -> Mapping[str, Any]:
    """Options of `load_task` for the task of a recipe of `echorl train`."""
    try:
        found = parse_yaml(recipe.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"recipe {recipe} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not isinstance(found.get("task"), str):
        raise ValueError(f"recipe {recipe} names no task: give a recipe of `echorl train` with `task: NAME`")
    own = _task_options(found["task"])
    if own is None:
        raise ValueError(f"recipe {recipe}: unknown task {found['task']!r}")
    options = found.get("task_options") or {}
    return {**own, **(json.loads(options) if isinstance(options, str) else options)}


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
        f"quickstart, {', '.join(TASKS)}, any dataset of reasoning-gym, or "
        "that of a training recipe as FILE.yaml:SPLIT"
    )
