"""Any task as a benchmark, graded by the task's own verifier."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echorl.lab.evaluate.benchmarks.base import Benchmark, Item
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.support.texts import parse_json
from echorl.tasks import Task, Verifier
from echorl.tasks.base import final_answer
from echorl.tasks.verify import GRADERS, Verdict

NOT_GOLD = ("prompt", "demonstration", "question", "image", "images")
"""Columns of a task's rows that its verifier does not look at."""
ANSWERS: Mapping[str, str] = {
    "gsm8k": "number", "word_problems": "number", "openr1_math": "math", "geometry3k": "geometry",
}  # fmt: skip
"""Task -> the grader that reads an answer as its verifier does; the others' is `final_answer`."""


@dataclass(frozen=True)
class TaskGrader:
    """A task's verifier as a grader. A gold is a JSON object: what the verifier's columns hold in an item's row."""

    name: str
    verifier: Verifier

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order; none for no completions. Golds that do not fit the task raise."""
        if len(texts) == 0:
            return []
        rows = [self._row(gold) for _, gold in zip(texts, golds, strict=True)]
        table = {column: [row.get(column) for row in rows] for column in rows[0]}
        scores = self.verifier(completions=list(texts), **table)
        return [Verdict(0.0, "no verdict") if score is None else Verdict(float(score)) for score in scores]

    def _row(self, gold: str) -> Mapping[str, Any]:
        try:
            row = parse_json(gold)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ValueError(f"the gold {gold[:60]!r} is not one of the task {self.name!r}: it must be a JSON object.")
        return row

    def answer(self, text: str) -> str:
        """The answer that it reads from a completion; "" if there is none."""
        reader = ANSWERS.get(self.name)
        return final_answer(text) if reader is None else GRADERS[reader].answer(text)


@dataclass(frozen=True, kw_only=True)
class TaskBenchmark(Benchmark):
    """A split of a task: as many rows as the task gives by default, drawn with seed 0. Its prompts are the task's."""

    task: Task
    split: str = "test"

    def items(self, data: str | None = None) -> list[Item]:
        """The split's items; `data` takes the place of the task's option of that name.

        Raises:
            ValueError: the task makes its rows up and `data` is given, or the task refuses the split or the data.
        """
        task: Any = self.task
        if data is not None:
            if "data" not in {field.name for field in dataclasses.fields(task)}:
                raise ValueError(f"the task of {self.name!r} makes its rows up; leave out the data {data}")
            task = dataclasses.replace(task, data=data)
        items = [self._task_item(row) for row in task.dataset(self.split)]
        return list({item.id: item for item in items}.values())

    def get_grader(self) -> TaskGrader:
        return TaskGrader(self.grader, self.task.verifier)

    def _task_item(self, row: Mapping[str, Any]) -> Item:
        gold = json.dumps({name: value for name, value in row.items() if name not in NOT_GOLD})
        images, prompt = tuple(row.get("images") or ()), row["prompt"]
        digest = short_hash(json.dumps(prompt), gold, *(image.tobytes() for image in images))
        return Item(id=digest, prompt=prompt, gold=gold, images=images)
