"""GSM8K: grade-school word problems with step-by-step solutions and a number as the answer."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.tasks.base import (
    Verifier,
    check_size,
    check_split,
    check_template,
    final_answer,
    hash_fraction,
    make_prompt,
)
from echorl.tasks.verify.number import NumberGrader
from echorl.tasks.verify.rewards import make_reward

if TYPE_CHECKING:
    from datasets import Dataset

HUB_ID = "openai/gsm8k"
TEMPLATE = "{question}\n\nReason step by step, one step a line. End with the final number alone after '####'."
VALIDATION_SHARE = 0.07
"""Share of the training file, by a hash of the question, that is the split "validation" (542 of 7,473 rows)."""

_MARK = re.compile(r"<<[^<>]*>>")

Row = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class GSM8K:
    r"""GSM8K from the hub, or from `data`: a JSONL file, or a folder with train.jsonl and test.jsonl.

    One file serves whichever split is asked for: "train" and "validation" are disjoint parts of it, "test" is all of
    it. A success is a final number equal to the gold one, as `echorl.tasks.verify.NumberGrader` reads it.
    """

    data: str | None = None
    """Path of a JSONL file with `question` and `answer`, or of a folder; None: the hub's openai/gsm8k."""
    template: str = TEMPLATE
    """The prompt, with `{question}` in it."""
    chat: bool = False
    """Prompts as one user message instead of a string."""
    timeout: float = 5.0
    """Seconds for one call of math-verify."""

    def __post_init__(self) -> None:
        check_template(self.template)

    @property
    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    @cached_property
    def verifier(self) -> Verifier:
        """Scores rows by their column `answer`, a number such as "1,000"."""
        return make_reward(NumberGrader(timeout=self.timeout), name="gsm8k")

    def dataset(self, split: str, *, size: int | None = None, seed: int = 0) -> Dataset:
        """All rows of the split, or `size` of them drawn by `seed`: prompt, question, answer, demonstration."""
        from datasets import Dataset

        check_split(split, self.splits)
        check_size(size)
        rows = _part(self._rows("test" if split == "test" else "train"), split)
        if size is not None and size > len(rows):
            raise ValueError(f"GSM8K's split {split!r} has {len(rows)} rows, not {size}; ask for fewer")
        kept = rows if size is None else [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), size))]
        return Dataset.from_list([self._row(row) for row in kept])

    def _rows(self, name: str) -> list[Row]:
        if self.data is None:
            from datasets import load_dataset

            return [dict(row) for row in load_dataset(HUB_ID, "main", split=name)]
        path = Path(self.data)
        return read_jsonl(path / f"{name}.jsonl" if path.is_dir() else path)

    def _row(self, row: Row) -> dict[str, Any]:
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


def read_jsonl(path: Path) -> list[Row]:
    """Rows with a `question` and an `answer`, both text; ValueError names the file, and the line if one is bad."""
    if not path.is_file():
        raise ValueError(f"no file {path}; give a JSONL file, or a folder with train.jsonl and test.jsonl")
    lines = path.read_bytes().splitlines()  # bytes: text that isn't UTF-8 is then its line's error
    rows = [_read_row(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f"{path} holds no rows; give a JSONL file with 'question' and 'answer'")
    return rows


def _read_row(line: bytes, place: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: not JSON ({error}); each line is one object with question and answer") from error
    for key in ("question", "answer"):
        if not isinstance(row, dict) or not isinstance(row.get(key), str):
            raise ValueError(f"{place}: no text under {key!r}; each line is one object with question and answer")
    return row


def _part(rows: Iterable[Row], split: str) -> list[Row]:
    if split == "test":
        return list(rows)
    return [row for row in rows if (hash_fraction(row["question"]) < VALIDATION_SHARE) == (split == "validation")]
