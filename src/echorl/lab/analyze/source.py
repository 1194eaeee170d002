"""Prompts with expert solutions: a task's demonstrations, or those of a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.benchmarks import BENCHMARKS, Benchmark, Item, TaskBenchmark, load_benchmark
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.tasks import TASKS
from echorl.tasks.demonstrations import COLUMNS, demonstration_text, find_column
from echorl.tasks.rows import READERS, Row


@dataclass(frozen=True, kw_only=True)
class Fixed(Benchmark):
    """Items that are given.

    Attributes:
        given: the items.
        like: the benchmark whose grader judges them; None: `grader` names one.
    """

    given: tuple[Item, ...]
    like: Benchmark | None = None

    def items(self, data: str | None = None) -> list[Item]:
        return list(self.given)

    def get_grader(self) -> Any:
        return super().get_grader() if self.like is None else self.like.get_grader()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Prompts, how answers to them are judged, and experts' solutions.

    Attributes:
        benchmark: the prompts and their grader.
        demonstrations: item's id -> an expert's solution; items without one are left out.
    """

    benchmark: Fixed
    demonstrations: Mapping[str, str]

    @property
    def graded(self) -> bool:
        """Return whether answers can be judged."""
        return bool(self.benchmark.grader)


def limit(source: Source, prompts: int | None, *, chat: bool) -> Source:
    """The first prompts of those with a demonstration; with `chat`, prompts that are text become a user's message."""
    kept = [item for item in source.benchmark.given if item.id in source.demonstrations][:prompts]
    if chat:
        kept = [item if isinstance(item.prompt, list) else _as_message(item) for item in kept]
    return dataclasses.replace(source, benchmark=dataclasses.replace(source.benchmark, given=tuple(kept)))


def _as_message(item: Item) -> Item:
    return dataclasses.replace(item, prompt=[{"role": "user", "content": item.prompt}])


def from_task(name: str, data: str | None = None) -> Source:
    """The items and demonstrations of "TASK" or "TASK:SPLIT", as `echorl eval` names them.

    Raises:
        ValueError: there is no such task or split, or its rows have no demonstrations.
    """
    task = name.partition(":")[0]
    if name in BENCHMARKS and name in TASKS:  # the benchmark of that name has no demonstrations, the task has
        name = f"{name}:test"
    benchmark = load_benchmark(name)
    if not isinstance(benchmark, TaskBenchmark):
        raise ValueError(f"benchmark {name!r} has no demonstrations: name a task as TASK:SPLIT, or rows with --file.")
    items = benchmark.items(data)
    own = benchmark.task if data is None else dataclasses.replace(benchmark.task, data=data)  # type: ignore[type-var]
    rows = own.dataset(benchmark.split)
    column = find_column(rows.column_names)
    if column is None:
        raise ValueError(f"the task {task!r} has no demonstrations: name another one, or rows with --file.")
    solutions = {prompt_key(row["prompt"]): demonstration_text(row[column]) for row in rows}
    found = {item.id: solutions[prompt_key(item.prompt)] for item in items}
    fixed = Fixed(name=name, title=name, grader=benchmark.grader, given=tuple(items), like=benchmark)
    return Source(benchmark=fixed, demonstrations={key: text for key, text in found.items() if text is not None})


def from_file(path: Path, grader: str = "") -> Source:
    """Rows with `prompt`, a demonstration (`demonstration` or `target`) and, for the grader, `answer`.

    Raises:
        ValueError: no such file, no such column, or a row that cannot be used; the message names it.
    """
    if not path.is_file() or path.suffix not in READERS:
        raise ValueError(f"{path}: there is no such file of rows; give one that ends in {' or '.join(READERS)}.")
    rows = READERS[path.suffix](path)
    if not rows:
        raise ValueError(f"{path} is empty: give a file with rows of prompts and demonstrations.")
    column = find_column(rows[0])
    needed = ("prompt", *(["answer"] if grader else []))
    if column is None or any(name not in rows[0] for name in needed):
        missing = next((name for name in needed if name not in rows[0]), " or ".join(COLUMNS))
        raise ValueError(f"{path}: there is no column {missing} among {', '.join(rows[0])}: add it.")
    read = [_read_row(row, column, bool(grader), f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    items = {item.id: item for item, _ in read}
    fixed = Fixed(name=path.stem, title=path.stem, grader=grader, given=tuple(items.values()))
    return Source(benchmark=fixed, demonstrations={item.id: text for item, text in read if text is not None})


def _read_row(row: Row, column: str, graded: bool, place: str) -> tuple[Item, str | None]:
    prompt = row.get("prompt")
    if not isinstance(prompt, (str, list)) or not prompt:
        raise ValueError(f"{place}: the prompt is neither text nor chat messages: write one.")
    if graded and row.get("answer") is None:
        raise ValueError(f"{place}: there is no answer: write one.")
    try:
        text = demonstration_text(row.get(column))
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from None
    return Item(id=short_hash(prompt_key(prompt)), prompt=prompt, reference_answer=str(row.get("answer", ""))), text


def prompt_key(prompt: Any) -> str:
    return json.dumps(prompt)


def spellings(item: Item, shown: str) -> Iterable[str]:
    """Return the forms of an item's prompt in stored rollouts: messages, text, or `shown` by the template."""
    yield prompt_key(item.prompt)
    yield prompt_key(shown)
    if isinstance(item.prompt, list):
        yield prompt_key(item.prompt[-1]["content"])
        yield prompt_key("\n\n".join(str(message["content"]) for message in item.prompt))
