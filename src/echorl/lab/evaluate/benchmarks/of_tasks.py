"""Benchmarks from tasks, graded by the task's own verifier."""

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
from echorl.tasks.verify import GRADERS, Verdict
from echorl.tasks.verify.reading import final_answer

PROMPT_COLUMNS = ("prompt", "demonstration", "question", "image", "images")
"""Columns of a task's rows that its verifier does not read."""
ANSWERS: Mapping[str, str] = {
    "gsm8k": "number", "word_problems": "number", "openr1_math": "math", "geometry3k": "geometry",
}  # fmt: skip
"""Task -> the grader that reads an answer as the task's verifier does; `final_answer` reads it for other tasks."""


@dataclass(frozen=True)
class TaskGrader:
    """Grader that calls a task's verifier. A reference answer is a JSON object of the verifier's columns in a row."""

    name: str
    verifier: Verifier

    def grade(self, texts: Sequence[str], reference_answers: Sequence[str]) -> list[Verdict]:
        """Return a verdict for each completion; ValueError for a reference answer that is not of this task."""
        if len(texts) == 0:
            return []
        rows = [self._row(reference) for _, reference in zip(texts, reference_answers, strict=True)]
        table = {column: [row.get(column) for row in rows] for column in rows[0]}
        scores = self.verifier(completions=list(texts), **table)
        return [Verdict(0.0, "no verdict") if score is None else Verdict(float(score)) for score in scores]

    def _row(self, reference_answer: str) -> Mapping[str, Any]:
        try:
            row = parse_json(reference_answer)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ValueError(
                f"the reference answer {reference_answer[:60]!r} is not one of the task {self.name!r}: "
                "it must be a JSON object."
            )
        return row

    def answer(self, text: str) -> str:
        """Return the answer in a completion; "" if there is none."""
        reader = ANSWERS.get(self.name)
        return final_answer(text) if reader is None else GRADERS[reader].answer(text)


@dataclass(frozen=True, kw_only=True)
class TaskBenchmark(Benchmark):
    """Benchmark of a split of a task: the task's default number of rows, drawn with seed 0, with its prompts."""

    task: Task
    split: str = "test"

    def items(self, data: str | None = None) -> list[Item]:
        """Return the split's items; `data` replaces the task's option of this name.

        Raises:
            ValueError: `data` is given and the task generates its rows, or the task refuses the split or the data.
        """
        task: Any = self.task
        if data is not None:
            if "data" not in {field.name for field in dataclasses.fields(task)}:
                raise ValueError(f"the task of {self.name!r} generates its rows; omit the data {data}")
            task = dataclasses.replace(task, data=data)
        items = [self._task_item(row) for row in task.dataset(self.split)]
        return list({item.id: item for item in items}.values())

    def get_grader(self) -> TaskGrader:
        """Return the grader that calls the task's verifier."""
        return TaskGrader(self.grader, self.task.verifier)

    def _task_item(self, row: Mapping[str, Any]) -> Item:
        reference_answer = json.dumps({name: value for name, value in row.items() if name not in PROMPT_COLUMNS})
        images, prompt = tuple(row.get("images") or ()), row["prompt"]
        digest = short_hash(json.dumps(prompt), reference_answer, *(image.tobytes() for image in images))
        return Item(id=digest, prompt=prompt, reference_answer=reference_answer, images=images)
