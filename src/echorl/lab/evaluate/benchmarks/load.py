"""Lookup of a benchmark by its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.benchmarks.base import Benchmark
from echorl.lab.evaluate.benchmarks.of_files import FORMAT, SUFFIXES, from_file
from echorl.lab.evaluate.benchmarks.of_tasks import TaskBenchmark
from echorl.lab.evaluate.benchmarks.registry import BENCHMARKS
from echorl.support.texts import parse_mapping, parse_yaml
from echorl.tasks import TASKS, load_task
from echorl.tasks.quickstart import TASK as QUICKSTART
from echorl.tasks.reasoning_gym import generators


def load_benchmark(name: str) -> Benchmark:
    """Return the benchmark of this name in `BENCHMARKS`, of a task or of a file.

    A task is "TASK" (its split "test") or "TASK:SPLIT"; a file is "FILE.jsonl", or "FILE.jsonl:GRADER".

    TASK is "quickstart", a name in `echorl.tasks.TASKS` (with default options), a dataset of reasoning-gym, or the path
    of a training recipe, "FILE.yaml", whose task and `task_options` are used. The task draws its rows with seed 0.

    Raises:
        ValueError: the benchmark (the message suggests close names) or the split is unknown, a recipe has no task, or a
            file cannot be used.

    >>> load_benchmark("aime24").samples, load_benchmark("word_problems:harder").split
    (32, 'harder')
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if name.endswith(SUFFIXES):
        return from_file(name)
    kind, _, split = name.rpartition(":") if ":" in name else (name, "", "")
    if kind.endswith(SUFFIXES):
        return from_file(kind, split)
    options = _options_in(Path(kind)) if kind.endswith((".yaml", ".yml")) else _task_options(kind)
    if options is None:
        raise ValueError(f"unknown benchmark {name!r}{_suggest(kind)}")
    task = load_task(**options)
    split = split or "test"
    if split not in task.splits:
        names = ", ".join(f"{kind}:{name}" for name in task.splits)
        raise ValueError(f"benchmark {name!r}: there is no split {split!r}; give one of {names}")
    return TaskBenchmark(name=name, title=name, grader=options["name"], source="made by echorl", task=task, split=split)


def _options_in(recipe: Path) -> Mapping[str, Any]:
    """Return the options of `load_task` for the task in a recipe of `echorl train`."""
    try:
        settings = parse_yaml(recipe.read_bytes())
    except OSError as error:
        raise ValueError(
            f"recipe {recipe} cannot be read ({error.strerror}); give a recipe of `echorl train` with `task: NAME`"
        ) from None
    except ValueError as error:
        raise ValueError(f"recipe {recipe} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("task"), str):
        raise ValueError(f"recipe {recipe} names no task; give a recipe of `echorl train` with `task: NAME`")
    defaults = _task_options(settings["task"])
    if defaults is None:
        raise ValueError(f"recipe {recipe}: unknown task {settings['task']!r}{_suggest(settings['task'])}")
    return {**defaults, **parse_mapping("task_options", settings.get("task_options"), '{"chat": true}')}


def _task_options(kind: str) -> Mapping[str, Any] | None:
    """Return the options of `load_task` for a task's name; None if there is no such task."""
    if kind == "quickstart":
        return QUICKSTART
    if kind in TASKS:
        return {"name": kind}
    return {"name": "reasoning_gym", "generator": kind} if kind in generators() else None


def _suggest(kind: str) -> str:
    """Return the end of an error message: close names of any kind, and the possible names."""
    names = {*BENCHMARKS, "quickstart", *TASKS, *generators()}  # gsm8k is a benchmark and a task
    close = difflib.get_close_matches(kind.lower().replace("-", "_"), names, n=3)
    question = f" (did you mean {' or '.join(close)}?)" if close else ""
    return (
        f"{question}; choose one of {', '.join(BENCHMARKS)}, or a task as TASK or TASK:SPLIT: "
        f"quickstart, {', '.join(TASKS)}, any dataset of reasoning-gym, the task of "
        f"a training recipe as FILE.yaml:SPLIT, or {FORMAT}"
    )
