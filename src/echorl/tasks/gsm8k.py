"""GSM8K: grade-school word problems with step-by-step solutions and a number as the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from echorl.tasks.base import Task, TaskRow, Verifier, draw, in_validation, make_prompt
from echorl.tasks.rows import Location, Row, check_columns
from echorl.tasks.verify.number import NumberGrader
from echorl.tasks.verify.reading import final_answer
from echorl.tasks.verify.rewards import make_reward

HUB_ID = "openai/gsm8k"
COLUMNS = ("question", "answer")
TEMPLATE = "{question}\n\nReason step by step, one step a line. End with the final number alone after '####'."
VALIDATION_SHARE = 0.07
"""Share of the training file for the split "validation", by a hash of the question (542 of 7,473 rows)."""

_MARK = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, kw_only=True)
class GSM8K(Task):
    r"""GSM8K from the hub, or from `data`: a JSONL or Parquet file, or a folder with train.jsonl and test.jsonl.

    A single file is read for any split: "train" and "validation" are disjoint parts of it, "test" is the whole file. A
    success is a final number that `echorl.tasks.verify.NumberGrader` finds equal to the reference answer. The columns
    are prompt, question, answer and demonstration.
    """

    data: str | None = None
    """Path of a file with the columns `question` and `answer`, or of a folder; None reads openai/gsm8k from the hub."""
    template: str = TEMPLATE
    """The prompt, with `{question}` in it."""
    chat: bool = False
    """Make each prompt a user message instead of a string."""
    timeout: float = 5.0
    """Seconds of CPU time for one call of math-verify."""

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "validation", "test")

    @cached_property
    def verifier(self) -> Verifier:
        """The reward function for the column `answer`, a number such as "1,000"."""
        return make_reward(NumberGrader(timeout=self.timeout), name="gsm8k")

    def rows(self, split: str, size: int | None, seed: int) -> list[TaskRow]:
        """Rows of the file: its question, its solution without calculator marks, and the solution's number."""
        file = "test" if split == "test" else "train"
        location = Location(hub_id=HUB_ID, config="main", split=file, stems=(f"gsm8k_{file}",))
        parts = location.parts(self.data, dedicated=True)
        rows = [_checked(row, place, number) for place, rows in parts for number, row in enumerate(rows)]
        in_split = [row for row in rows if split == "test" or in_validation(row["question"], split, VALIDATION_SHARE)]
        return [self._row(row) for row in draw(in_split, size, seed, place=f"GSM8K's split {split!r}")]

    def _row(self, row: Row) -> TaskRow:
        return {
            "prompt": make_prompt(row["question"], template=self.template, chat=self.chat),
            "question": row["question"],
            "answer": final_answer(row["answer"]),
            "demonstration": strip_marks(row["answer"]),
        }


def strip_marks(solution: str) -> str:
    """The solution without its calculator marks.

    >>> strip_marks("She sold 48/2 = <<48/2=24>>24.")
    'She sold 48/2 = 24.'
    """
    return _MARK.sub("", solution)


def _checked(row: Row, place: str, number: int) -> Row:
    check_columns(row, [COLUMNS], f"{place}, row {number}")
    if not all(isinstance(row[column], str) for column in COLUMNS):
        raise ValueError(f"{place}, row {number}: 'question' or 'answer' is not a text; write both as texts")
    return row
