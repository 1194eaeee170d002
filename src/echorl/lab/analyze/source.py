"""Prompts with expert solutions: a task's demonstrations, or those of a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echorl.core.refusals import refuse_if
from echorl.lab.evaluate.benchmarks import BENCHMARKS, Benchmark, Item, TaskBenchmark, load_benchmark
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.tasks import TASKS
from echorl.tasks.demonstrations import COLUMNS, demonstration_text, find_column
from echorl.tasks.rows import READERS, Row


@dataclass(frozen=True, kw_only=True)
class Fixed(Benchmark):
    """A benchmark with given items.

    Attributes:
        given: the items.
        like: the benchmark whose grader is used; None: `grader` names one.
    """

    given: tuple[Item, ...]
    like: Benchmark | None = None

    def items(self, data: str | None = None) -> list[Item]:
        return list(self.given)

    def get_grader(self) -> Any:
        return super().get_grader() if self.like is None else self.like.get_grader()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Prompts with a grader, and experts' solutions.

    Attributes:
        benchmark: the prompts and their grader.
        demonstrations: item's id -> an expert's solution; items without one are missing.
    """

    benchmark: Fixed
    demonstrations: Mapping[str, str]

    @property
    def graded(self) -> bool:
        """Return whether answers can be graded."""
        return bool(self.benchmark.grader)


def limit(source: Source, prompts: int, *, chat: bool) -> Source:
    """Return the first prompts that have a demonstration; with `chat`, prompts of text become a user's message."""
    items = [item for item in source.benchmark.given if item.id in source.demonstrations][:prompts]
    if chat:
        items = [
            replace(item, prompt=[{"role": "user", "content": item.prompt}]) if isinstance(item.prompt, str) else item
            for item in items
        ]
    return replace(source, benchmark=replace(source.benchmark, given=tuple(items)))


def from_task(name: str, data: str | None = None) -> Source:
    """Return the items and demonstrations of "TASK" or "TASK:SPLIT", as `echorl eval` names them.

    Raises:
        ValueError: the task or split does not exist, or its rows have no demonstrations.
    """
    if name in BENCHMARKS and name in TASKS:  # the benchmark of that name has no demonstrations, the task has
        name = f"{name}:test"
    benchmark = load_benchmark(name)
    if not isinstance(benchmark, TaskBenchmark):
        raise ValueError(f"benchmark {name!r} has no demonstrations: name a task as TASK:SPLIT, or rows with --file.")
    items = benchmark.items(data)
    task = benchmark.task if data is None else replace(benchmark.task, data=data)  # type: ignore[type-var]
    rows = task.dataset(benchmark.split)
    column = find_column(rows.column_names)
    if column is None:
        name = name.partition(":")[0]
        raise ValueError(f"the task {name!r} has no demonstrations: name another one, or rows with --file.")
    solutions = {json.dumps(row["prompt"]): demonstration_text(row[column]) for row in rows}
    fixed = Fixed(name=name, title=name, grader=benchmark.grader, given=tuple(items), like=benchmark)
    return _source(fixed, {item.id: solutions[json.dumps(item.prompt)] for item in items})


def _source(benchmark: Fixed, solutions: Mapping[str, str | None]) -> Source:
    demonstrations = {item_id: text for item_id, text in solutions.items() if text is not None}
    return Source(benchmark=benchmark, demonstrations=demonstrations)


def from_file(path: Path, grader: str = "") -> Source:
    """Return rows with `prompt`, a demonstration (`demonstration` or `target`) and, for the grader, `answer`.

    Raises:
        ValueError: the file, a column or a value is missing or cannot be used; the message names it.
    """
    if not path.is_file() or path.suffix not in READERS:
        raise ValueError(f"{path}: there is no such file of rows; give one that ends in {' or '.join(READERS)}.")
    rows = READERS[path.suffix](path)
    if not rows:
        raise ValueError(f"{path} is empty: give a file with rows of prompts and demonstrations.")
    column = find_column(rows[0])
    missing = [name for name in ("prompt", *(["answer"] if grader else [])) if name not in rows[0]]
    if column is None or missing:
        name = missing[0] if missing else " or ".join(COLUMNS)
        raise ValueError(f"{path}: there is no column {name} among {', '.join(rows[0])}: add it.")
    pairs = [_read_row(row, column, bool(grader), f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    given = tuple({item.id: item for item, _ in pairs}.values())
    fixed = Fixed(name=path.stem, title=path.stem, grader=grader, given=given)
    return _source(fixed, {item.id: text for item, text in pairs if text is not None})


def _read_row(row: Row, column: str, graded: bool, place: str) -> tuple[Item, str | None]:
    prompt: Any = row.get("prompt")
    problems = {
        "the prompt is neither text nor chat messages: write one of them": (
            not isinstance(prompt, (str, list)) or not prompt
        ),
        "there is no answer: write one": graded and row.get("answer") is None,
    }
    try:
        refuse_if(problems)
        text = demonstration_text(row.get(column))
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from None
    return Item(id=short_hash(json.dumps(prompt)), prompt=prompt, reference_answer=str(row.get("answer", ""))), text


def spellings(item: Item, rendered: str) -> Iterable[str]:
    """Return the forms of an item's prompt in stored rollouts, as JSON: messages, text, or text by the template."""
    prompts = [item.prompt, rendered]
    if isinstance(item.prompt, list):
        contents = [message["content"] for message in item.prompt]
        prompts += [contents[-1], "\n\n".join(map(str, contents))]
    return map(json.dumps, prompts)
